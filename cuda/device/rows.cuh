// Work on a [rows, columns] matrix goes pack by pack along rows. A row is shared by as many threads as it has packs, up
// to a block of 256; small rows share a block. Which thread takes which pack depends on the number of columns alone.
// Internal to cuda/device.
#pragma once

#include <type_traits>

#include "cuda/device/launch.cuh"

namespace trireme::cuda {

inline constexpr int kRowThreads = 256;

// For kernels that loop with `for_each_pack`: block (threads of a row, rows of a block).
struct RowGrid {
  dim3 grid, block;

  RowGrid(const Launch& launch, std::int64_t rows, std::int64_t columns, int lanes) {
    int threads = 1;
    while (threads < kRowThreads && threads * lanes < columns) threads *= 2;
    block = dim3(static_cast<unsigned>(threads), static_cast<unsigned>(kRowThreads / threads));
    grid = launch.blocks(parts(rows, block.y));
  }
};

// each(row, column of the pack's first element, elements left in the row)
template <int kLanes, class Each>
__device__ inline void for_each_pack(std::int64_t rows, std::int64_t columns, const Each& each) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const std::int64_t stride = static_cast<std::int64_t>(blockDim.x) * kLanes;
  for (std::int64_t column = static_cast<std::int64_t>(threadIdx.x) * kLanes; column < columns; column += stride)
    each(row, column, columns - column);
}

// For kernels whose rows are summed: a warp for a row of at most 1024 columns, else a block of 256 threads.
// function(std::integral_constant<int, threads of a row>())
template <class Function>
void with_row_threads(std::int64_t columns, const Function& function) {
  constexpr std::int64_t kMostOfAWarp = 1024;
  if (columns <= kMostOfAWarp)
    function(std::integral_constant<int, 32>());
  else
    function(std::integral_constant<int, kRowThreads>());
}
// Block of kRowThreads threads; kThreads of them share a row.
template <int kThreads>
dim3 row_blocks(const Launch& launch, std::int64_t rows) {
  return launch.blocks(parts(rows, kRowThreads / kThreads));
}
template <int kThreads>
__device__ inline std::int64_t row_of_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * (kRowThreads / kThreads) + threadIdx.x / kThreads;
}
// each(column of the pack's first element, elements left in the row), for this thread's packs of its row
template <int kThreads, int kLanes, class Each>
__device__ inline void for_each_pack_of_row(std::int64_t columns, const Each& each) {
  for (std::int64_t column = static_cast<std::int64_t>(threadIdx.x % kThreads) * kLanes; column < columns;
       column += kThreads * kLanes)
    each(column, columns - column);
}

// The sum of `value` over the kThreads threads of a row, which all get it; kThreads is 32 or 256. Added in pairs of
// neighbouring lanes, then of warps: the order depends on kThreads alone. With 256 every thread of the block takes
// part, and `warps` [8] is shared memory that nothing else uses between two calls but under a barrier of its own.
template <int kThreads>
__device__ inline float row_sum(float value, float* warps) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  if constexpr (kThreads > 32) {
    static_assert(kThreads == 256);
    __syncthreads();  // the values of the call before have been read
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = ((warps[0] + warps[1]) + (warps[2] + warps[3])) + ((warps[4] + warps[5]) + (warps[6] + warps[7]));
  }
  return value;
}

}  // namespace trireme::cuda
