// Attention without tensor cores, for fp32 and for heads of any size up to 256: correct first. A warp owns 4 rows (or
// keys) and each lane one of the 32 keys (or rows) of a step, so that scores need no sums across lanes; then each lane
// owns elements lane, lane + 32, ... of the results. Sums are chains of fused multiply-adds in the order of elements
// and of keys or rows. Operands lie in shared memory as fp32, rows an odd number of words apart: lanes that read a
// column meet no bank twice.
//
// Internal to cuda/device.
#pragma once

#include "cuda/device/attention_tile.cuh"
#include "cuda/device/elements.cuh"

namespace trireme::cuda {

constexpr int kPlainOwn = 16;                            // rows or keys of a block
constexpr int kPlainWarpOwn = 4;                         // of a warp
constexpr int kPlainStep = 32;                           // keys or rows at a time
constexpr int kPlainParts = kLargestAttentionHead / 32;  // elements of a lane
static_assert(kPlainWarpOwn * kAttentionThreads / 32 == kPlainOwn);

TRIREME_HOST_DEVICE inline int plain_stride(int head_size) { return head_size | 1; }

// `rows` rows of d elements, `stride` apart, to rows plain_stride(d) apart; zeros from row `valid` on.
template <class T>
__device__ inline void plain_copy(float* to, const T* from, std::int64_t stride, int rows, int valid, int d) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * d; i += kAttentionThreads) {
    const int row = i / d;
    const int column = i % d;
    to[row * plain_stride(d) + column] = row < valid ? widen(from[row * stride + column]) : 0;
  }
}

// Of a warp's own rows with the lane's row of the step.
__device__ inline void plain_dots(float (&dots)[kPlainWarpOwn], const float* own, const float* walked, int d) {
  const int stride = plain_stride(d);
  const float* lanes_row = walked + (static_cast<int>(threadIdx.x) & 31) * stride;
#pragma unroll
  for (float& dot : dots) dot = 0;
#pragma unroll 4
  for (int c = 0; c < d; ++c)
#pragma unroll
    for (int r = 0; r < kPlainWarpOwn; ++r) dots[r] = fmaf(own[r * stride + c], lanes_row[c], dots[r]);
}

// sums[r] += sum over the step's rows j of weight[r] of lane j times row j.
__device__ inline void plain_accumulate(float (&sums)[kPlainWarpOwn][kPlainParts],
                                        const float (&weights)[kPlainWarpOwn], const float* walked, int d) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
#pragma unroll 1
  for (int j = 0; j < kPlainStep; ++j) {
    float weight[kPlainWarpOwn];
#pragma unroll
    for (int r = 0; r < kPlainWarpOwn; ++r) weight[r] = __shfl_sync(~0u, weights[r], j);
#pragma unroll
    for (int part = 0; part < kPlainParts; ++part)
      if (const int c = part * 32 + lane; c < d)
#pragma unroll
        for (int r = 0; r < kPlainWarpOwn; ++r)
          sums[r][part] = fmaf(weight[r], walked[j * plain_stride(d) + c], sums[r][part]);
  }
}

template <class T>
__device__ inline void plain_store(T* to, const float (&sums)[kPlainParts], float factor, int d) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
#pragma unroll
  for (int part = 0; part < kPlainParts; ++part)
    if (const int c = part * 32 + lane; c < d) to[c] = round_to<T>(sums[part] * factor);
}

// Which of a warp's rows [row, row + kPlainWarpOwn) attend to the lane's key, of keys before `end`: bit r.
__device__ inline unsigned plain_attending(const Ranges& ranges, int row, int key, int end) {
  unsigned attending = 0;
#pragma unroll
  for (int r = 0; r < kPlainWarpOwn; ++r)
    if (row + r < ranges.rows() && ranges.begin(row + r) <= key && key < min(ranges.end(row + r), end))
      attending |= 1u << r;
  return attending;
}

// Which of a warp's pairs of own row (or key) r and the lane's key (or row) dropout keeps: bit r. Asks only for pairs
// whose bit of `wanted` is set.
template <class Keeps>
__device__ inline unsigned plain_kept(unsigned wanted, Keeps keeps) {
  unsigned kept = 0;
#pragma unroll 1
  for (int r = 0; r < kPlainWarpOwn; ++r)
    if ((wanted >> r & 1) != 0 && keeps(r)) kept |= 1u << r;
  return kept;
}

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int other = 16; other > 0; other /= 2) x += __shfl_xor_sync(~0u, x, other);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int other = 16; other > 0; other /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, other));
  return x;
}

// sum_d a b of one row, by a warp.
template <class T>
__device__ inline float plain_row_dot(const T* a, const T* b, int d) {
  float sum = 0;
  for (int c = static_cast<int>(threadIdx.x) & 31; c < d; c += 32) sum = fmaf(widen(a[c]), widen(b[c]), sum);
  return warp_sum(sum);
}

}  // namespace trireme::cuda
