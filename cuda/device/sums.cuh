// A sum must not depend on who holds which part, nor on the grid. As on the host, numbers are summed over fixed blocks
// of 1024 elements of their tensor, and the blocks' sums in a binary tree: (s0 + s1) + (s2 + s3) ..., an odd one out
// joining at the next level. Within a block of 1024 the order is ours: lane l of a warp takes elements 4 l .. 4 l + 3
// of every 128, in their order, then lanes join in pairs. Internal to cuda/device.
#pragma once

#include "cuda/device/elements.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/device/scratch.h"
#include "cuda/device/tensor_list.cuh"

namespace trireme::cuda {

inline constexpr std::int64_t kSumBlock = 1024;  // elements
inline constexpr std::int64_t kSumChunk = 8 * kSumBlock;
inline constexpr int kSumThreads = 256;  // 8 warps, a sum each

using SumList = TensorList<1, kSumChunk>;

// sums[place of a tensor + b] = sum of term(x) over its block b. 4 n bytes.
template <class Term>
__global__ void __launch_bounds__(kSumThreads)
    block_sums(const __grid_constant__ SumList list, Term term, float* sums) {
  const SumList::Chunk chunk = list.chunk(static_cast<std::int32_t>(blockIdx.x));
  const float* x = reinterpret_cast<const float*>(list.data[chunk.tensor][0]);
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
  const std::int64_t begin = chunk.begin + threadIdx.x / 32 * kSumBlock;
  if (begin >= chunk.end) return;
  const std::int64_t end = begin + kSumBlock < chunk.end ? begin + kSumBlock : chunk.end;
  float sum = 0;
#pragma unroll
  for (int step = 0; step < kSumBlock / 128; ++step) {
    const std::int64_t at = begin + 128 * step + 4 * (threadIdx.x % 32);
    if (at >= end) continue;
    const Pack<4> pack = load<4>(x + at, end - at, aligned);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += term(pack.lane[i]);  // what lies behind the end was loaded as 0
  }
  sum = row_sum<32>(sum, nullptr);
  if (threadIdx.x % 32 == 0) sums[list.place[chunk.tensor] + begin / kSumBlock] = sum;
}

// The tree over each 2048 of `n` numbers: finish(which 2048, its sum), by one thread.
inline constexpr std::int64_t kTreeLeaves = 8 * kSumThreads;
template <class Finish>
__global__ void __launch_bounds__(kSumThreads) tree_sums(const float* numbers, std::int64_t n, Finish finish) {
  __shared__ float warps[kSumThreads / 32];
  const std::int64_t at = blockIdx.x * kTreeLeaves + 8 * threadIdx.x;
  float leaf[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) leaf[i] = at + i < n ? numbers[at + i] : -0.0f;  // x + -0 is x, for 0 and -0 too
#pragma unroll
  for (int apart = 1; apart < 8; apart *= 2)
#pragma unroll
    for (int i = 0; i < 8; i += 2 * apart) leaf[i] += leaf[i + apart];
  const float sum = row_sum<kSumThreads>(leaf[0], warps);
  if (threadIdx.x == 0) finish(blockIdx.x, sum);
}

struct KeepSum {
  float* to;
  __device__ void operator()(std::int64_t which, float sum) const { to[which] = sum; }
};

// finish(0, sum of the tree over all of `numbers`), on the device. 0 for n = 0. `to` has room for n / 2048 + 2 numbers
// and does not overlap `numbers`.
template <class Finish>
void tree_sum(const Launch& launch, const float* numbers, std::int64_t n, float* to, const Finish& finish) {
  while (n > kTreeLeaves) {
    const std::int64_t blocks = parts(n, kTreeLeaves);
    tree_sums<<<launch.blocks(blocks), kSumThreads, 0, launch.stream>>>(numbers, n, KeepSum{to});
    launch.done();
    numbers = to, to += blocks, n = blocks;
  }
  tree_sums<<<1, kSumThreads, 0, launch.stream>>>(numbers, n, finish);
  launch.done();
}
// Numbers that `to` of tree_sum needs.
constexpr std::int64_t tree_scratch(std::int64_t n) { return parts(n, kTreeLeaves) + parts(n, kTreeLeaves) / 1024 + 8; }

}  // namespace trireme::cuda
