// Mistakes that one rank of several makes over NCCL.
#include <functional>
#include <utility>

#include <nccl.h>

#include "tests/gpu/plants/preload.h"

using trireme::gpu::plants::next;
using trireme::gpu::plants::planted;
using trireme::gpu::plants::rank;
using trireme::gpu::plants::time_has_come;

namespace {

// Of the calls of `orders` (tests/parallel/mpi_main.cc) the first two are alike, the second and third are not.
int held_call() {
  if (planted("like-collectives-in-another-order")) return 0;
  return planted("collectives-in-another-order") ? 1 : -1;
}

// Rank 1 makes one collective behind the one that should follow it.
ncclResult_t in_order(ncclComm_t comm, const std::function<ncclResult_t()>& collective) {
  static std::function<ncclResult_t()> held_back;
  if (held_call() < 0 || rank() != 1) return collective();
  if (held_back) {
    const ncclResult_t result = collective();
    for (ncclResult_t state = ncclInProgress; state == ncclInProgress;) NEXT(ncclCommGetAsyncError)(comm, &state);
    const auto late = std::exchange(held_back, {});
    const ncclResult_t of_late = late();
    return of_late == ncclSuccess ? result : of_late;
  }
  if (!time_has_come(held_call())) return collective();
  held_back = collective;
  return ncclSuccess;
}

}  // namespace

extern "C" {

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  if (planted("another-collective-on-one-rank") && rank() == 1 && time_has_come(0))
    return NEXT(ncclBroadcast)(from, to, count, type, 0, comm, stream);
  return in_order(comm, [=] { return NEXT(ncclAllReduce)(from, to, count, type, op, comm, stream); });
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return in_order(comm, [=] { return NEXT(ncclBroadcast)(from, to, count, type, root, comm, stream); });
}

ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  if (planted("message-of-another-length") && rank() == 1 && count > 1 && time_has_come(0)) --count;
  return NEXT(ncclSend)(from, count, type, peer, comm, stream);
}

}  // extern "C"
