// The Communicator of processes: puts each call on its stream, and there hands it to the transport that reaches its
// ranks.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "parallel/comm/mpi_messages.h"
#include "parallel/comm/transport.h"

namespace trireme {

// The two ways to the ranks of one MPI communicator, and the line where its calls stand. `failed` is set when a call
// has thrown, after which MPI must not be finalised: it would wait for the others.
struct MpiPeers {
  MpiMessages messages;
  std::unique_ptr<Transport> transport;
  HostLedger& ledger;
  const int line;
  std::atomic<bool> failed{false};

  MpiPeers(MPI_Comm comm, Members members, std::chrono::milliseconds timeout, HostLedger& host_ledger)
      : messages(comm, std::move(members), timeout, host_ledger), ledger(host_ledger), line(ledger.open_line()) {}
};

class MpiGroups;

// One of the groups of `groups`, which keeps what MPI must free.
std::unique_ptr<Communicator> make_mpi_communicator(std::shared_ptr<MpiGroups> groups, std::shared_ptr<MpiPeers> peers,
                                                    Device& device);

}  // namespace trireme
