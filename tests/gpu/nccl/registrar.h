// How ranks that will form a communicator find each other: each sends an application to one rank, the registrar, which
// answers when all have come. For ncclCommInitRank the registrar is whoever made the unique id; for ncclCommSplit, rank
// 0 of the parent. Runs beside the streams, on the GPU's thread, and never waits.
#pragma once

#include <cstdint>

#include <nccl.h>

#include "tests/gpu/nccl/communicator.h"

namespace trireme::gpu::nccl {

// What a unique id holds.
struct Identity {
  std::uint64_t magic = 0;
  std::int32_t registrar = 0;  // rank of MPI_COMM_WORLD
  std::int32_t serial = 0;     // of the registrar's identities
};
Identity new_identity();                         // throws Failure where MPI is not ready for it
Identity read_identity(const ncclUniqueId& id);  // throws Failure
void write_identity(const Identity& identity, ncclUniqueId& id);

// Applies for a place. `comm` becomes ready, or fails, later. `parent` and `number`: of a split; null: of an identity.
struct Application {
  Identity identity{};
  ncclComm* parent = nullptr;
  std::uint64_t number = 0;
  int color = 0;
  int key = 0;
};
void apply(ncclComm* comm, const Application& application);

}  // namespace trireme::gpu::nccl
