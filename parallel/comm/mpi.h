// Ranks as processes under mpirun or srun. MPI does not progress by itself, so a call's work stands on a communication
// stream, whose thread polls it, with naps, until it is done. Ranks of one host reduce in each other's memory or
// through a shared window (host_transport.h); across hosts pieces of 4 MB travel as messages and are summed in the tree
// of communicator.h. MPI is initialised only under a launcher: without one, rank 0 of 1.
//
// A PeerError here leaves MPI unusable: end the job with `abort`.
#pragma once

#include <chrono>
#include <memory>

#include "parallel/comm/communicator.h"

namespace trireme {

class HostLedger;

// True if this process was started by mpirun or srun with a PMI, judged by its environment.
bool launched_by_mpi();

struct MpiOptions {
  // How long a rank waits for a peer before it reports who is missing. TRIREME_PEER_TIMEOUT_SECONDS overrides it.
  std::chrono::milliseconds timeout = std::chrono::seconds(60);
  enum class Path {
    kBest,    // if all ranks are on one host its memory, else messages
    kWindow,  // likewise, but large tensors through the shared window, as where the kernel allows nothing else (tests)
    kMessages,  // as if every rank had a host of its own (tests)
  } path = Path::kBest;
};

// One a process. Initialises MPI when constructed under a launcher; finalises when it goes, unless by an exception or
// after a PeerError: finalising waits for all ranks, and they may be waiting for this one.
class MpiWorld {
 public:
  explicit MpiWorld(MpiOptions options = {});  // throws UserError if MPI cannot be used
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  int rank() const;
  int size() const;
  int ranks_on_this_host() const;
  int rank_on_this_host() const;

  std::chrono::milliseconds timeout() const;  // TRIREME_PEER_TIMEOUT_SECONDS, or the options'
  // Where this host's ranks say what they are in; null without a launcher.
  HostLedger* ledger();

  // The group of all ranks, with streams of `device`. Once.
  std::unique_ptr<Communicator> world(Device& device);

  // Ends all ranks at once with this exit code.
  [[noreturn]] void abort(int exit_code);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
