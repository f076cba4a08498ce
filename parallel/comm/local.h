// Ranks as threads of one process: parallel code can be tested without mpirun, under ThreadSanitizer, and with calls
// that do not match reported instead of hung. Waits block on a condition variable, never spin.
//
// A call that its peers do not match (another op, tensor, step, size or dtype) or that waits longer than the timeout
// while a peer is elsewhere or gone throws PeerError on every rank, at whichever of the groups it is, naming who is
// where. Ranks that wait for each other in one group are found at once; in different groups, where a rank may still
// come on another stream, at the timeout. Data is read inside stream tasks only.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "parallel/comm/communicator.h"

namespace trireme {

class LocalGroup {
 public:
  explicit LocalGroup(int size, std::chrono::milliseconds timeout = std::chrono::seconds(60));
  ~LocalGroup();

  // Rank `rank`'s end, for its thread, whose streams live on `device`. Once for each rank.
  std::unique_ptr<Communicator> join(int rank, Device& device);

  // Rank `rank` will make no more calls in any group: peers that wait for it, or will, fail at once instead of at the
  // timeout. Destroying a communicator says the same of that group.
  void leave(int rank, const std::string& why);

  // The tables at which the groups meet; a subgroup's is made by whoever comes to it first.
  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace trireme
