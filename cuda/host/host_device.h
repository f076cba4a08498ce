// The CPU as a device: threads, memory and streams of one rank. Many may live in one process, one for each rank that is
// a thread; one's threads never touch another's.
//
// How streams run is chosen once, for all streams of the device:
//   kImmediate  compute streams run each op in the caller, at once; communication streams run on a thread of their own
//   kLazy       nothing runs until somebody synchronizes; then streams are drained in an order shuffled by
//   `shuffle_seed`, as
//               far as events allow, so that a missing event shows (tests). A drain that cannot go on is a deadlock:
//               CHECK.
// With `guard_memory`, device memory is PROT_NONE except while work on a stream runs (tests): whoever follows
// Tensor::data outside of it faults.
#pragma once

#include <memory>
#include <string>

#include "cuda/core/device.h"
#include "cuda/ops/kernels.h"

namespace trireme {

enum class StreamMode { kImmediate, kLazy };

struct HostOptions {
  int threads = 1;  // compute threads of this rank
  StreamMode streams = StreamMode::kImmediate;
  std::uint64_t shuffle_seed = 0;
  bool guard_memory = false;
};

// Throws UserError when TRIREME_SIMD is set to something else than what follows. TRIREME_SIMD=avx2 keeps Highway and
// oneDNN of the whole process from AVX-512, `portable` from AVX2 too (to compare with machines that lack them); it is
// read once, at the first call. Exceptions of queued tasks come out of every later wait or synchronize of the device;
// what is queued behind is skipped.
std::unique_ptr<Device> make_host_device(const HostOptions& options);

const Kernels& host_kernels();

// What SIMD and GEMM run on, for logs: "AVX3_ZEN4, oneDNN 2.6.3".
std::string host_description();

}  // namespace trireme
