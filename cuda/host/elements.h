// What host ops share outside of SIMD: the types behind each DType, and the checks that a call fits the contract.
// Internal to cuda/host.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/core/tensor.h"
#include "monitoring/check.h"

namespace trireme::host {

// Storage only; arithmetic is fp32 (cuda/host/simd.h converts).
struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

template <class T>
T* as(const Tensor& tensor) {
  return reinterpret_cast<T*>(tensor.data);
}

template <class T>
struct Type {
  using type = T;
};
// function(Type<T>()) with the T that stores `dtype`, which has to be a floating one.
template <class Function>
void with_type(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kF32:
      return function(Type<float>());
    case DType::kBF16:
      return function(Type<BFloat16>());
    case DType::kF16:
      return function(Type<Float16>());
    default:
      CHECK(false, "not a floating-point tensor: ", name_of(dtype));
  }
}

inline void check_operand(const char* op, const char* operand, const Tensor& tensor, DType dtype, const Shape& shape) {
  CHECK(tensor.given(), op, ": ", operand, " is not given");
  CHECK(tensor.dtype == dtype && tensor.shape == shape, op, ": ", operand, " is ", name_of(tensor.dtype),
        to_string(tensor.shape), ", should be ", name_of(dtype), to_string(shape));
}

// Threads worth waking for so many elements: a fork costs microseconds. No op's bits depend on the number of threads.
inline int threads_for(int threads, std::int64_t elements) {
  constexpr std::int64_t kElementsPerThread = 8192;
  return static_cast<int>(std::clamp<std::int64_t>(elements / kElementsPerThread, 1, threads));
}

// Elements [begin, end) of `from` to `to`, both floating, rounded to nearest even. In the caller's thread;
// whole_tensor.cc.
void convert(const Tensor& to, const Tensor& from, std::int64_t begin, std::int64_t end);

}  // namespace trireme::host
