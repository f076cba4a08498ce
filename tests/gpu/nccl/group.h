// ncclGroupStart and ncclGroupEnd of the calling thread: what is called between them is put on its streams together,
// one operation for each communicator, and communicators that are made between them wait for one another at the end.
#pragma once

#include "tests/gpu/nccl/communicator.h"

namespace trireme::gpu::nccl {

void group_start();
ncclResult_t group_end();  // throws Failure

// Within a group kept for its end, otherwise done at once.
ncclResult_t add(ncclComm* comm, const Task& task, cudaStream_t stream);
ncclResult_t finish_making(ncclComm* comm);  // waits where the communicator is blocking

}  // namespace trireme::gpu::nccl
