// Every call into CUDA can fail, and a failure of a kernel is reported by whichever call comes next. `check` names the
// call and what CUDA says of it. Running out of memory is the user's to change; all else is a device that failed, and
// ends the job. Internal to cuda/device.
#pragma once

#include <cstddef>

#include <cublasLt.h>
#include <cuda_runtime.h>

namespace trireme::cuda {

void check(cudaError_t status, const char* call);
void check(cublasStatus_t status, const char* call);

// cudaMalloc. `held` is what this process holds already. Throws UserError that says how much is free, how much was
// asked for, and how much belongs to others.
std::byte* allocate(std::size_t bytes, std::size_t held);

}  // namespace trireme::cuda
