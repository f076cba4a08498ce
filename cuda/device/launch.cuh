// What every op does on the host before and after its kernel: check that operands fit the contract, find the type
// behind each DType and whether packs are aligned, say its name to the profiler, and see whether the launch was
// accepted. Internal to cuda/device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <nvtx3/nvToolsExt.h>

#include "cuda/core/device.h"
#include "cuda/core/tensor.h"
#include "cuda/device/error.cuh"
#include "cuda/ops/operand.h"
#include "monitoring/check.h"

namespace trireme::cuda {

// function(Type<T>()) with the T that stores `dtype`, which has to be a floating one.
template <class Function>
void with_type(DType dtype, const Function& function) {
  with_type_of<__nv_bfloat16, __half>(dtype, function);
}

// Whether every pack of `lanes` elements, in rows of `columns`, of every given tensor lies on a multiple of its size,
// or of 16 bytes where it is larger.
inline bool packs_aligned(int lanes, std::int64_t columns, std::initializer_list<Tensor> tensors) {
  if (columns % lanes != 0) return false;
  for (const Tensor& tensor : tensors)
    if (reinterpret_cast<std::uintptr_t>(tensor.data) %
            std::min<std::size_t>(16, static_cast<std::size_t>(lanes) * bytes_of(tensor.dtype)) !=
        0)
      return false;
  return true;
}

constexpr std::int64_t parts(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// One op of the table while it launches: a range with the op's name for Nsight Systems.
class Launch {
 public:
  Launch(Stream stream, const char* op) : stream(static_cast<cudaStream_t>(stream.handle)), op_(op) {
    nvtxRangePushA(op);
  }
  ~Launch() { nvtxRangePop(); }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  // A grid of so many blocks, which have to be at least one.
  dim3 blocks(std::int64_t x, std::int64_t y = 1) const {
    CHECK(1 <= x && x <= 0x7fffffff && 1 <= y && y <= 65535, op_, ": ", x, " by ", y, " blocks");
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y));
  }
  // To be called behind each launch: errors of the launch itself; those of its running come with a later call.
  void done() const { check(cudaGetLastError(), op_); }

  const cudaStream_t stream;

 private:
  const char* op_;
};

}  // namespace trireme::cuda
