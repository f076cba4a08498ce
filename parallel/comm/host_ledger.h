// When a process dies its peers wait for nothing, and what it was doing is lost with it. So the ranks of one host write
// into memory that they share which call each of their groups is in, and each watches the processes of the others: a
// death is known within milliseconds, and its report says in which call and tensor. A report about one group can say,
// too, what the others of its ranks are waiting for elsewhere. A rank whose group failed writes why, so that those who
// wait for it in other groups end with the cause and not with their own silence.
//
// Invariants: an entry is written by its own process only, a line of it by one thread at a time, between two steps of
// its version; who reads it while it changes reads it again. A process that ends as it should says so first.
//
// Processes of other pid namespaces, whose numbers mean nothing here, are not watched, and none are where the kernel
// has no pidfd_open; mpirun still ends such a job.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "parallel/comm/call.h"

namespace trireme {

class HostLedger {
 public:
  static std::size_t bytes(int size);
  // By one rank, before the others attach.
  static void prepare(std::byte* memory, int size);

  // The process at `place` of `size` on this host, which is rank `rank` of the world. `memory` outlives it.
  HostLedger(std::byte* memory, int place, int size, int rank);
  ~HostLedger();
  HostLedger(const HostLedger&) = delete;
  HostLedger& operator=(const HostLedger&) = delete;

  void watch();     // from now on; all have been constructed
  void farewell();  // this process will end, and that is no failure, or one that is told by other means

  // A group's line, in which its calls stand. Groups beyond kLines share the last: their reports say less.
  static constexpr int kLines = 40;
  int open_line();
  void enter(int line, const Call& call, const Members& members);
  void leave(int line);

  // Who died and where; empty while all live. Rings for nobody: who waits looks now and then.
  bool anyone_died() const { return died_.load(); }
  std::string obituary() const;

  // A call of this process failed, and it will make no more. Only the first reason is kept.
  void give_up(std::string_view why);
  // Who of this host's others died, or gave up first and why; empty when none did. Those in the same call as one who
  // gives up find out for themselves, so giving up counts only for who has waited for kPatience.
  static constexpr std::chrono::milliseconds kPatience{1000};
  std::string lost(std::chrono::steady_clock::duration waited) const;
  // Where this host's ranks are in groups but this one: "rank 2 is in exchange of ...", or empty.
  std::string elsewhere(const Members& members) const;
  // And in this one: of each member on this host, the call that it is in, or the last that it left.
  struct Standing {
    int member = 0;
    bool inside = false;
    Call call{};  // kNone: none yet
  };
  std::vector<Standing> standing(const Members& members) const;

 private:
  struct Entry;
  struct Line;
  struct Written;

  Entry& entry(int place) const;
  static Written read(const Line& line);
  void look_out();
  void bury(int place);

  std::byte* memory_;
  const int place_;
  const int size_;
  const int rank_;
  int lines_ = 0;
  std::vector<int> processes_;  // a pidfd for each place, -1 where there is none
  int wake_ = -1;               // an eventfd that ends the watch
  std::thread watcher_;
  std::atomic<bool> died_{false};
  mutable std::mutex mutex_;
  std::string obituary_;
};

}  // namespace trireme
