// What attention's tensor-core kernels share: the shape of their tiles, their exponential, masks and dropout.
//
// A row is treated alike wherever in its tile it stands. The compiler may fuse a multiplication and an addition in one
// unrolled copy of a loop and not in the next; so every sum behind a product is written as fmaf, or with __fmul_rn.
//
// Internal to cuda/device.
#pragma once

#include <type_traits>

#include "cuda/core/philox.h"
#include "cuda/device/attention.cuh"
#include "cuda/device/attention_ranges.cuh"
#include "cuda/device/tensor_core.cuh"

namespace trireme::cuda {

constexpr int kAttentionThreads = 128;  // 4 warps
constexpr int kNever = INT32_MAX;       // begin and end of rows beyond the last
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

// Rows or keys that a kernel takes at a time from the side that it walks: 8 KiB of each operand.
template <int D>
constexpr int kAttentionStep = 4096 / D;

// function(Type<T>(), integral_constant of D)
template <class Function>
void with_tensor_core_head(DType dtype, int head_size, const Function& function) {
  const auto with_size = [&](auto type) {
    if (head_size == 64) return function(type, std::integral_constant<int, 64>());
    return function(type, std::integral_constant<int, 128>());
  };
  return dtype == DType::kBF16 ? with_size(Type<__nv_bfloat16>()) : with_size(Type<__half>());
}
// A kernel has 48 KiB of shared memory unless it asks.
template <class Kernel>
void allow_shared_memory(Kernel* kernel, std::size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "cudaFuncSetAttribute");
}

// Enqueues a kernel of attention: so many blocks of kAttentionThreads.
template <class... Parameters>
void launch_attention(const Launch& launch, void (*kernel)(Parameters...), std::int64_t blocks,
                      std::size_t shared_bytes, const std::type_identity_t<Parameters>&... arguments) {
  allow_shared_memory(kernel, shared_bytes);
  kernel<<<launch.blocks(blocks), kAttentionThreads, shared_bytes, launch.stream>>>(arguments...);
  launch.done();
}

// Takes the steps of a walk one by one: while add(step, buffer) works on one, copy(step, buffer) of the next is under
// way, into the other of two buffers. One barrier a step; behind the last one all copies have landed, for all threads.
template <class Walk, class Copy, class Add>
__device__ inline void take_steps(Walk walk, const Copy& copy, const Add& add) {
  auto step = walk.next();
  if (step.end != 0) copy(step, 0);
  for (int buffer = 0; step.end != 0; buffer ^= 1) {
    copies_landed();
    __syncthreads();
    const auto following = walk.next();
    if (following.end != 0) copy(following, buffer ^ 1);
    add(step, buffer);
    step = following;
  }
  copies_landed();
  __syncthreads();
}

// Starts the copies of a step's keys: of K and of V.
template <class T, int D>
__device__ inline void copy_keys(SharedAddress k, SharedAddress v, const AttentionArguments& in, int key, int end,
                                 int kv_head) {
  const auto* kv = static_cast<const T*>(in.kv);
  copy_rows<D, kAttentionStep<D>, kAttentionThreads>(k, kv + in.k_at(key, kv_head), in.kv_stride(), end - key);
  copy_rows<D, kAttentionStep<D>, kAttentionThreads>(v, kv + in.v_at(key, kv_head), in.kv_stride(), end - key);
}

// 2^x by the hardware: relative error 2^-22 (PTX ISA, ex2.approx), 0 below 2^-126.
__device__ inline float exp2_hardware(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// A lane's places in a C tile (tensor_core.cuh).
__device__ inline int lane_row() { return (static_cast<int>(threadIdx.x) & 31) >> 2; }   // and + 8
__device__ inline int lane_column() { return (static_cast<int>(threadIdx.x) & 3) * 2; }  // and + 1

// What dropout keeps of one head. As many bits as a lane has columns in a row of C tiles: bit 2 n + e is column
// 8 n + lane_column() + e of the tiles. Rolled loops on purpose: Philox is long.
class HeadDropout {
 public:
  __device__ HeadDropout(const AttentionArguments& in, int head)
      : samples_(in.samples),
        offsets_(in.offsets),
        key_(key_of_head(in.dropout_key, in.first_head + static_cast<std::uint32_t>(head))),
        threshold_(in.drop_threshold) {}

  __device__ bool keeps(int row, int key) const {
    const auto place = static_cast<std::uint32_t>(offsets_[key]);
    const PhiloxBlock block = draw(row, place / 4);
    const std::uint32_t low = place & 1 ? block.lane[1] : block.lane[0];
    const std::uint32_t high = place & 1 ? block.lane[3] : block.lane[2];
    return (place & 2 ? high : low) >= threshold_;
  }
  // Columns are keys from `first` on, none beyond `end`.
  template <int kTiles>
  __device__ std::uint32_t kept_keys(int row, int first, int end) const {
    std::uint32_t kept = 0;
#pragma unroll 1
    for (int bit = 0; bit < 2 * kTiles; ++bit)
      if (keeps(row, min(first + column_of(bit), end - 1))) kept |= 1u << bit;
    return kept;
  }
  // Columns are rows from `first` on, none beyond `end`.
  template <int kTiles>
  __device__ std::uint32_t kept_rows(int key, int first, int end) const {
    std::uint32_t kept = 0;
#pragma unroll 1
    for (int bit = 0; bit < 2 * kTiles; ++bit)
      if (keeps(min(first + column_of(bit), end - 1), key)) kept |= 1u << bit;
    return kept;
  }

 private:
  __device__ static int column_of(int bit) { return (bit >> 1) * 8 + lane_column() + (bit & 1); }
  __device__ PhiloxBlock draw(int row, std::uint32_t block) const {
    const auto sample = static_cast<std::uint64_t>(samples_[row]);
    return philox(key_, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32),
                  static_cast<std::uint32_t>(offsets_[row]), block);
  }

  const std::int64_t* samples_;
  const std::int32_t* offsets_;
  std::uint64_t key_;
  std::uint32_t threshold_;
};

// 16 rows of C tiles of a warp, times `factor`, to rows [row, row + 16) of D elements, `stride` apart, of which the
// first `valid` exist: through the warp's own 16 rows of a tile in shared memory, so that stores are of 16 bytes.
template <class T, int D>
__device__ inline void store_rows(T* to, std::int64_t stride, int valid, SharedAddress tile, int row,
                                  const float (&c)[D / 8][4], float upper_factor, float lower_factor) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  __syncwarp();
#pragma unroll
  for (int n = 0; n < D / 8; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = half == 0 ? upper_factor : lower_factor;
      const std::uint32_t both = pack<T>(c[n][2 * half] * factor, c[n][2 * half + 1] * factor);
      const SharedAddress place = at<D>(tile, row + lane_row() + half * 8, n) + lane_column() * 2;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(place), "r"(both) : "memory");
    }
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * D / 8; i += 32) {
    const int r = i / (D / 8);
    const int chunk = i % (D / 8);
    uint4 eight;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(eight.x), "=r"(eight.y), "=r"(eight.z), "=r"(eight.w)
                 : "r"(at<D>(tile, row + r, chunk))
                 : "memory");
    if (row + r < valid) *reinterpret_cast<uint4*>(to + (row + r) * stride + chunk * 8) = eight;
  }
}

}  // namespace trireme::cuda
