// Copies and fills, with what CUDA documents of each direction ("API synchronization behavior"): which wait for the
// host, which host bytes have been taken when the call returns, and what the host may then rely on. Where the
// documentation says "might", a program may not rely on it: the copy is made at once, but nothing counts as ordered by
// it.
#pragma once

#include <cstddef>

#include <driver_types.h>

#include "tests/gpu/runtime/gpu.h"

namespace trireme::gpu {

enum class Synchrony { kBlocking, kAsynchronous };  // cudaMemcpy (on the default stream), cudaMemcpyAsync

// Throws Refusal where `kind` and the sides of the addresses do not agree.
void copy(Gpu& gpu, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
          Synchrony synchrony);

void fill(Gpu& gpu, void* to, int value, std::size_t bytes, cudaStream_t stream);

}  // namespace trireme::gpu
