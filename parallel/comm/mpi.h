// Ranks as processes under mpirun or srun. MPI does not progress by itself, so the device's communication thread owns
// every MPI call: it runs what stands on the communication streams and polls all that is under way. Ranks of one host
// reduce through a shared window in pieces of 1 to 4 MB; across hosts pieces travel by all-to-all and are summed in the
// tree of communicator.h. MPI is initialised only under a launcher: without one, rank 0 of 1.
#pragma once

#include <memory>

#include "parallel/comm/communicator.h"

namespace trireme {

// True if this process was started by mpirun or srun with a PMI, judged by its environment.
bool launched_by_mpi();

// One a process. Initialises MPI when constructed under a launcher, finalises when it goes.
class MpiWorld {
 public:
  MpiWorld();
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  int rank() const;
  int size() const;
  int ranks_on_this_host() const;
  int rank_on_this_host() const;

  // The group of all ranks, with streams of `device`.
  std::unique_ptr<Communicator> world(Device& device);

  // Ends all ranks at once with this exit code.
  [[noreturn]] void abort(int exit_code);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
