// Where the threads of a LocalGroup meet. Every member has a seat; a call sits down with what it brings, waits until it
// can go on, and gets up. Because all seats are in one place, a call that nobody matches and ranks that wait for each
// other in a circle are seen at once. A group and its subgroups have a table each, in one room: a failure at one is a
// failure at all, and its report says where every rank is.
//
// Invariants, under the room's mutex: a seat with `arrived` takes part in the meeting that is being formed; all who
// arrived are in equal calls. `stuck` is set by a member that cannot go on and cleared by whoever changes that: when
// all seats of a table are stuck or empty, nothing will. A failure is final: every later call throws it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "parallel/comm/call.h"

namespace trireme {

// What a rank lets its peers see while all are in one call.
struct Operands {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  std::string_view message;
};

class LocalTable;

// Tables enter and leave it by themselves.
struct LocalRoom {
  explicit LocalRoom(std::chrono::milliseconds waits) : timeout(waits) {}

  void leave(int rank_of_world, const std::string& why);  // every table, those to come too

  const std::chrono::milliseconds timeout;
  std::mutex mutex;
  std::vector<LocalTable*> tables;  // in the order in which they were made: the world's first
  std::map<int, std::string> left;  // rank of the world, why
  std::string failure;
};

class LocalTable {
 public:
  LocalTable(std::shared_ptr<LocalRoom> room, Members members);
  ~LocalTable();
  LocalTable(const LocalTable&) = delete;
  LocalTable& operator=(const LocalTable&) = delete;

  const Members& members() const { return members_; }
  int size() const { return static_cast<int>(seats_.size()); }

  // CHECKs that the seat is free.
  void take_seat(int rank);
  void leave(int rank, const std::string& why);

  // Waits for all ranks to be in this same call, lets `work` see what each brought, and returns when all have worked.
  // Throws PeerError.
  void collective(int rank, const Call& call, const Operands& mine,
                  const std::function<void(std::span<const Operands>)>& work);

  // Meets only the peers named. Throws PeerError.
  void exchange(int rank, const Call& call, std::span<const Transfer> sends, std::span<const Transfer> receives);

 private:
  friend struct LocalRoom;
  using Lock = std::unique_lock<std::mutex>;
  enum class Stage { kPosted, kTaking, kTaken };
  struct Parcel {
    Tensor tensor;
    Stage stage = Stage::kPosted;
  };
  struct Seat {
    Call call;  // the one it is in, or else was in last
    Operands operands;
    std::int64_t calls = 0;
    bool taken = false;
    bool in_call = false;
    bool arrived = false;
    bool stuck = false;
    bool left = false;
    std::string why_left;
  };

  void get_up_for_good(int rank, const std::string& why);
  void enter(int rank, const Call& call);
  void check_same(int rank);
  void await(Lock& lock, int rank, const std::function<bool()>& ready, const std::function<int()>& needs);
  bool receive_what_is_there(Lock& lock, int rank, std::span<const Transfer> receives, std::vector<bool>& done);
  void withdraw(Lock& lock, int rank, std::deque<Parcel>& parcels);
  std::deque<Parcel*>& mailbox(int from, int to);
  [[noreturn]] void fail(const std::string& what);
  std::string whereabouts(int rank) const;
  std::string whereabouts_of_all() const;  // and of who waits at another table

  const std::shared_ptr<LocalRoom> room_;
  const Members members_;
  std::condition_variable changed_;
  std::vector<Seat> seats_;
  std::vector<std::deque<Parcel*>> mailboxes_;  // [from][to]
  std::vector<Operands> brought_;               // to the meeting in progress
  int arrived_ = 0;
  int working_ = 0;
  std::uint64_t formed_ = 0;  // meetings
  std::uint64_t ended_ = 0;
};

}  // namespace trireme
