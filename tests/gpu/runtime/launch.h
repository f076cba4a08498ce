// Launching a kernel: what a driver refuses, the parameters copied at once as it does, and the run itself in stream
// order. Also what a program may ask of a kernel without running it.
#pragma once

#include <cstddef>

#include <driver_types.h>
#include <vector_types.h>

#include "tests/gpu/runtime/gpu.h"

namespace trireme::gpu {

// Parsed and with its module loaded; throws Refusal.
Kernel& kernel_of(Gpu& gpu, const void* handle);

// `arguments`: a pointer to each parameter's value. Throws Refusal.
void launch(Gpu& gpu, const void* handle, dim3 grid, dim3 block, void** arguments, std::size_t dynamic_shared_bytes,
            cudaStream_t stream);

cudaFuncAttributes attributes_of(Gpu& gpu, const void* handle);
void set_attribute(Gpu& gpu, const void* handle, cudaFuncAttribute attribute, int value);

// Blocks of the kernel that a multiprocessor holds at a time: by threads, blocks, shared memory, and registers where
// the binary holds machine code for the device. 0: not one.
int occupancy(Gpu& gpu, const void* handle, int threads, std::size_t dynamic_shared_bytes);

}  // namespace trireme::gpu
