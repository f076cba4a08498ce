// What host ops share outside of SIMD: the types behind each DType, threads, conversions.
// Internal to cuda/host.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/core/tensor.h"
#include "cuda/ops/operand.h"

namespace trireme::host {

// Storage only; arithmetic is fp32 (cuda/host/simd.h converts).
struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

// function(Type<T>()) with the T that stores `dtype`, which has to be a floating one.
template <class Function>
void with_type(DType dtype, const Function& function) {
  with_type_of<BFloat16, Float16>(dtype, function);
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
