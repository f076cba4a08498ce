// The program and libtrireme_cuda.so are built together but meet at run time, where a stale file of another build may
// lie in the new one's place. What passes between them is this struct and one function; its sizes say whether both
// sides were built from the same tables.
//
// The object is never closed: what it handed out lives until the process ends. Exceptions may leave it; types are told
// apart by name.
#pragma once

#include <cstddef>
#include <string>

#include "cuda/core/device.h"
#include "cuda/ops/kernels.h"

namespace trireme {

struct CudaBackEnd {
  std::size_t kernels_bytes = sizeof(Kernels);  // the opener's; the object refuses another
  Device* device = nullptr;                     // the opener's to delete
  const Kernels* kernels = nullptr;
  std::string description{};  // "NVIDIA H100 80GB HBM3, sm_90, 80 GB, GPU 0 of 8, CUDA 13.0, driver 13.0"
  std::string unavailable{};  // why there is no device here, if there is none
};

// Opens the GPU of `local_rank`, of `local_ranks` ranks of this host. Without driver or GPU it fills `unavailable` and
// returns; throws UserError for a GPU that is there and cannot be used like this.
using OpenCuda = void (*)(int local_rank, int local_ranks, CudaBackEnd* back_end);
inline constexpr const char* kOpenCuda = "trireme_open_cuda";
inline constexpr const char* kCudaObject = "libtrireme_cuda.so";

}  // namespace trireme
