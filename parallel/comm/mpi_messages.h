// Point-to-point messages between the ranks of one MPI communicator, polled by the thread that waits for them: MPI does
// not progress by itself. Between polls it yields and then naps, for the cores belong to the backward pass. Every wait
// has an end: past the timeout, or when a process of this host dies, it throws a PeerError that names the peers that
// were not heard.
//
// One thread at a time. Messages of one kind between two ranks arrive in the order in which they were sent.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <mpi.h>

#include "parallel/comm/call.h"
#include "parallel/comm/host_ledger.h"

namespace trireme {

class MpiMessages {
 public:
  // `ledger` outlives it.
  MpiMessages(MPI_Comm comm, Members members, std::chrono::milliseconds timeout, const HostLedger& ledger);

  MPI_Comm comm() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return members_.size(); }
  const Members& members() const { return members_; }

  enum class Kind : int { kMeeting = 1, kData = 2, kHeader = 3, kPayload = 4 };  // MPI's tags

  // What is under way; the memory named stays until `wait` returns.
  class Batch {
   public:
    bool empty() const { return requests_.empty(); }

   private:
    friend class MpiMessages;
    std::vector<MPI_Request> requests_;
    std::vector<int> peers_;
  };
  void send(Batch& batch, Kind kind, int peer, const void* from, std::size_t bytes);
  void receive(Batch& batch, Kind kind, int peer, void* to, std::size_t bytes);

  // True when all of it is done.
  bool poll(Batch& batch);
  void wait(Batch& batch, const Call& call);
  // Polls until done() is true, which may call `poll`. `report` says, at the timeout, who is missing.
  void wait_until(const std::function<bool()>& done, const std::function<std::string()>& report);

  // Returns when all ranks are in this same call. Throws PeerError naming who is where.
  void meet(const Call& call);

 private:
  [[noreturn]] void fail(const std::string& what) const;

  MPI_Comm comm_;
  const Members members_;
  const std::chrono::milliseconds timeout_;
  const HostLedger& ledger_;
  int rank_ = 0;
  std::vector<Call> last_;  // the latest call that each rank was met in
};

// Throws PeerError if `result` is not MPI_SUCCESS.
void check_mpi(int result, const char* what);

}  // namespace trireme
