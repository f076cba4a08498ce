// delta = sum_d d_o o, for each row and head: what softmax's gradient takes off. It has no memory of its own: it lies
// in the first 4 bytes of its row of dq until the dq kernel, which comes last, overwrites them.
//
// Bytes: 2 R H D s read, 4 R H written. A row of a head is D / 8 lanes with a 16-byte load of each operand; no shared
// memory.
#include "cuda/device/attention.cuh"

namespace trireme::cuda {
namespace {

constexpr int kThreads = 256;

__device__ inline float2 widen(std::uint32_t both, __nv_bfloat16) {
  return __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(both));
}
__device__ inline float2 widen(std::uint32_t both, __half) {
  return __half22float2(reinterpret_cast<const __half2&>(both));
}

// `rows` counts rows of heads; `lanes` of a warp (8 or 16) work on one.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_delta_kernel(T* dq, const T* __restrict__ d_o, const T* __restrict__ o, std::int64_t rows, int lanes) {
  const std::int64_t index = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t row = index / lanes;
  float sum = 0;
  if (row < rows) {
    const uint4 a = reinterpret_cast<const uint4*>(d_o)[index];
    const uint4 b = reinterpret_cast<const uint4*>(o)[index];
    const auto add = [&sum](std::uint32_t x, std::uint32_t y) {
      const float2 p = widen(x, T());
      const float2 q = widen(y, T());
      sum = fmaf(p.y, q.y, fmaf(p.x, q.x, sum));
    };
    add(a.x, b.x);
    add(a.y, b.y);
    add(a.z, b.z);
    add(a.w, b.w);
  }
  for (int other = lanes / 2; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
  if (row < rows && index % lanes == 0) *reinterpret_cast<float*>(dq + index * 8) = sum;
}

}  // namespace

void launch_attention_delta(const Launch& launch, DType dtype, const AttentionArguments& in,
                            const AttentionGradients& out) {
  const auto enqueue = [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t rows = std::int64_t{in.rows} * in.heads;
    const int lanes = in.head_size / 8;
    attention_delta_kernel<<<launch.blocks(parts(rows * lanes, kThreads)), kThreads, 0, launch.stream>>>(
        static_cast<T*>(out.dq), static_cast<const T*>(out.d_o), static_cast<const T*>(out.o), rows, lanes);
    launch.done();
  };
  return dtype == DType::kBF16 ? enqueue(Type<__nv_bfloat16>()) : enqueue(Type<__half>());
}

}  // namespace trireme::cuda
