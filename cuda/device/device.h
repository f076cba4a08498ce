// One GPU as a `Device` (cuda/core/device.h), for the process that owns it: memory from cudaMalloc, streams and events
// as CUDA has them.
//
//   - Stream::handle is the cudaStream_t, Event::handle the cudaEvent_t: NCCL and our kernels use them as they are.
//   - Nothing waits for the GPU but `synchronize`, `destroy_stream`, and an `upload` or `download` that finds the
//     staging ring (32 MiB of pinned memory) full, which waits for its oldest piece.
//   - Communication streams have the higher priority, so that a collective's few blocks are not queued behind a GEMM's.
//   - A thread may call ops once it has called any method of the device (CUDA's current device is a thread's own).
//   - What a task given to `run` throws comes out of every later synchronize; tasks behind it are skipped.
#pragma once

#include <memory>

#include "cuda/core/device.h"
#include "cuda/ops/kernels.h"

namespace trireme {

// GPU `index` of those that CUDA shows to this process. Throws UserError if it is held by somebody else.
std::unique_ptr<Device> make_cuda_device(int index);

const Kernels& device_kernels();

}  // namespace trireme
