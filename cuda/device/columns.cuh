// Gradients of biases and norms are sums over all rows, thousands of them, for a few thousand columns. One thread a
// column would leave most of the GPU idle. So rows are cut into runs of kRunRows, counted from the first row of the
// call; a thread sums a pack of columns over one run, row after row from 0, and then what the output held and the runs'
// sums are added, run after run. The order depends on nothing but the rows of the call: a batch may be split at
// multiples of kRunRows and leaves the same bits.
//
// The first pass reads its operands once; the second reads a 4-byte sum for every 64 rows: 3% of a bf16 operand's
// bytes. Internal to cuda/device.
#pragma once

#include <algorithm>

#include "cuda/device/elements.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/device/scratch.h"

namespace trireme::cuda {

inline constexpr std::int64_t kRunRows = 64;
inline constexpr int kRunThreads = 128;
inline constexpr int kAddThreads = 64;

template <int kSums>
struct ColumnOutputs {
  float* at[kSums];
};

// runs [run, kSums, columns] of columns [first, first + columns). terms.add(row, column, elements left in the row,
// sums) adds one row's terms to the pack's sums.
template <int kLanes, int kSums, class Terms>
__global__ void __launch_bounds__(kRunThreads)
    sum_runs(float* runs, std::int64_t rows, std::int64_t first, std::int64_t columns, Terms terms) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kRunThreads + threadIdx.x) * kLanes;
  if (column >= columns) return;
  const std::int64_t begin = blockIdx.y * kRunRows;
  const std::int64_t end = begin + kRunRows < rows ? begin + kRunRows : rows;
  Pack<kLanes> sums[kSums] = {};
#pragma unroll 4
  for (std::int64_t row = begin; row < end; ++row) terms.add(row, first + column, columns - column, sums);
#pragma unroll
  for (int s = 0; s < kSums; ++s)
    store(runs + (blockIdx.y * kSums + s) * columns + column, sums[s], columns - column, columns % kLanes == 0);
}

template <int kSums>
__global__ void __launch_bounds__(kAddThreads)
    add_runs(ColumnOutputs<kSums> outputs, const float* runs, std::int64_t count, std::int64_t columns) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kAddThreads + threadIdx.x;
  if (column >= columns) return;
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
    float sum = outputs.at[s][column];
#pragma unroll 8
    for (std::int64_t run = 0; run < count; ++run) sum += runs[(run * kSums + s) * columns + column];
    outputs.at[s][column] = sum;
  }
}

// Adds the sums over rows to outputs [columns] each. As many columns at once as the scratch has room for.
template <int kLanes, int kSums, class Terms>
void add_column_sums(const Launch& launch, Stream stream, const ColumnOutputs<kSums>& outputs, std::int64_t rows,
                     std::int64_t columns, const Terms& terms) {
  if (rows == 0 || columns == 0) return;
  const std::int64_t count = parts(rows, kRunRows);
  const std::int64_t room = static_cast<std::int64_t>(kScratchBytes / sizeof(float)) / (count * kSums);
  CHECK(room >= kLanes, rows, " rows are too many to sum in one call");
  const std::int64_t strip = std::min(columns, room / kLanes * kLanes);
  float* runs = scratch<float>(stream, count * kSums * strip);
  for (std::int64_t first = 0; first < columns; first += strip) {
    const std::int64_t here = std::min(strip, columns - first);
    sum_runs<kLanes, kSums><<<launch.blocks(parts(here, kRunThreads * kLanes), count), kRunThreads, 0, launch.stream>>>(
        runs, rows, first, here, terms);
    launch.done();
    ColumnOutputs<kSums> of_strip = outputs;
    for (float*& output : of_strip.at) output += first;
    add_runs<<<launch.blocks(parts(here, kAddThreads)), kAddThreads, 0, launch.stream>>>(of_strip, runs, count, here);
    launch.done();
  }
}

}  // namespace trireme::cuda
