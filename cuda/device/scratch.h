// Some ops need memory of their own for a moment (partial sums, cuBLASLt's workspace), and a stream is all that an op
// is given. So each stream has one block, which the stream's ops use one after another: an op may use it from its first
// launch to its last, and finds in it whatever the op before left.
//
// The block is taken when the stream's first op asks, kScratchBytes of it. Kernels that could need more work in strips
// instead; a single larger request makes a larger block, and the old one is kept until the stream goes, because what is
// queued may use it. Internal to cuda/device; streams are registered by the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/core/device.h"

namespace trireme::cuda {

inline constexpr std::size_t kScratchBytes = std::size_t{64} << 20;

class Gemms;  // cuda/device/gemm.cuh

// At least `bytes`, aligned to 256.
std::byte* scratch(Stream stream, std::size_t bytes);
template <class T>
T* scratch(Stream stream, std::int64_t count) {
  return reinterpret_cast<T*>(scratch(stream, static_cast<std::size_t>(count) * sizeof(T)));
}

// The stream's GEMMs: cuBLASLt's handle and the plans made so far.
Gemms& gemms(Stream stream);

void forget_stream(Stream stream);  // nothing runs on it any more
std::size_t scratch_bytes();        // of all streams of this process

}  // namespace trireme::cuda
