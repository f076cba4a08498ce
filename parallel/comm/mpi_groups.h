// Every group of processes needs an MPI communicator, a way to its ranks and, on one host, a shared window; MPI wants
// them freed by all of a group's ranks in one order. Here they are made, kept and freed.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include <mpi.h>

#include "parallel/comm/mpi.h"
#include "parallel/comm/mpi_communicator.h"

namespace trireme {

class MpiGroups {
 public:
  // `all` belongs to the caller and outlives this, as does `ledger`.
  MpiGroups(MPI_Comm all, MpiOptions::Path path, std::chrono::milliseconds timeout, HostLedger& ledger);
  ~MpiGroups();  // closes; frees nothing
  MpiGroups(const MpiGroups&) = delete;
  MpiGroups& operator=(const MpiGroups&) = delete;

  const std::shared_ptr<MpiPeers>& world() const;
  // The group of these ranks of `parent`; collective over them.
  std::shared_ptr<MpiPeers> subgroup(const MpiPeers& parent, std::span<const int> ranks, std::string_view name);

  bool failed() const;  // whether a call of any group has thrown
  void close();         // on one host: peers that wait for this rank fail from now on
  void free();          // collective; the last made goes first

 private:
  class HostWindow;
  struct Group;
  std::shared_ptr<MpiPeers> make(MPI_Comm comm, Members members, bool owned);

  MpiOptions::Path path_;
  std::chrono::milliseconds timeout_;
  HostLedger& ledger_;
  std::vector<std::unique_ptr<Group>> groups_;
};

}  // namespace trireme
