// An op on elements alone: y_i = f(a_i, b_i, ...). Every input is read once and every output written once, so the floor
// is the bytes over the memory's speed. A thread takes one pack. Outputs may be inputs: a thread reads all of its pack
// before it writes. Internal to cuda/device.
#pragma once

#include "cuda/device/elements.cuh"
#include "cuda/device/launch.cuh"

namespace trireme::cuda {

inline constexpr int kMapThreads = 256;

template <int kLanes, class Function, class To, class... From>
__global__ void __launch_bounds__(kMapThreads)
    map_elements(std::int64_t n, bool aligned, Function function, To* to, const From*... from) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kMapThreads + threadIdx.x) * kLanes;
  if (at >= n) return;
  const auto apply = [&](const auto&... pack) {
    Pack<kLanes> result;
#pragma unroll
    for (int i = 0; i < kLanes; ++i) result.lane[i] = function(pack.lane[i]...);
    store(to + at, result, n - at, aligned);
  };
  apply(load<kLanes>(from + at, n - at, aligned)...);
}

// All tensors have the same number of elements; those of 4 bytes make packs of 4.
template <class Function, class To, class... From>
void map(const Launch& launch, std::int64_t n, const Function& function, Type<To>, const Tensor& to,
         const std::pair<Type<From>, Tensor>&... from) {
  if (n == 0) return;
  constexpr int kLanes = std::min({kLanesOf<To>, kLanesOf<From>...});
  const bool aligned = packs_aligned(kLanes, kLanes, {to, from.second...});
  map_elements<kLanes><<<launch.blocks(parts(n, kMapThreads * kLanes)), kMapThreads, 0, launch.stream>>>(
      n, aligned, function, as<To>(to), as<From>(from.second)...);
  launch.done();
}

}  // namespace trireme::cuda
