// Over valid columns: statistics = {max l, sum exp(l - max), l_target, sum l}, in one pass of 4 R V bytes; the logits
// are the largest tensor of a step. A thread keeps its own maximum and the sum under it, rescaled when the maximum
// grows; the block then joins them. loss and merge read 16 R bytes a range. dlogits = weight scale (softmax (1 + 2 z
// lse) - (1 - e) [j = target] - e / vocabulary), R V (4 + s) bytes. One exponential (about 10 operations) an element,
// so that memory binds.
#include "cuda/device/elements.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"

namespace trireme::cuda {
namespace {

constexpr float kNothing = -__builtin_huge_valf();  // the maximum of no columns

// exp(x - most); 0 for -inf whatever `most` is.
__device__ inline float exp_below(float x, float most) { return x == kNothing ? 0.0f : expf(x - most); }

__device__ inline float block_max(float value, float* warps) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < kRowThreads / 32; ++warp) value = fmaxf(value, warps[warp]);
  return value;
}

// A block a row.
__global__ void __launch_bounds__(kRowThreads)
    statistics_kernel(float* statistics, const float* logits, const std::int32_t* targets, std::int64_t columns,
                      bool aligned, CrossEntropy options) {
  __shared__ float warps[kRowThreads / 32];
  const std::int64_t row = blockIdx.x;
  const float* in = logits + row * columns;
  float most = kNothing, exponentials = 0, total = 0;
  for_each_pack_of_row<kRowThreads, 4>(options.valid_columns, [&](std::int64_t column, std::int64_t left) {
    const Pack<4> l = load<4>(in + column, left, aligned);
    float here = l.lane[0];
#pragma unroll
    for (int i = 1; i < 4; ++i) here = i < left ? fmaxf(here, l.lane[i]) : here;
    if (here > most) {
      exponentials *= exp_below(most, here);
      most = here;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      exponentials += i < left ? exp_below(l.lane[i], most) : 0.0f;
      total += l.lane[i];  // what lies behind the columns was loaded as 0
    }
  });
  const float of_row = block_max(most, warps);
  exponentials = row_sum<kRowThreads>(exponentials * exp_below(most, of_row), warps);
  total = row_sum<kRowThreads>(total, warps);
  if (threadIdx.x != 0) return;
  const std::int64_t column = targets[row] - options.first_column;
  float* out = statistics + 4 * row;
  out[0] = of_row;
  out[1] = exponentials;
  out[2] = 0 <= column && column < options.valid_columns ? in[column] : 0.0f;
  out[3] = total;
}

__global__ void __launch_bounds__(kRowThreads)
    merge_kernel(float* statistics, const float* parts, std::int64_t count, std::int64_t rows, bool aligned) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  if (row >= rows) return;
  Pack<4> joined{{kNothing, 0, 0, 0}};
  for (std::int64_t which = 0; which < count; ++which)
    joined.lane[0] = fmaxf(joined.lane[0], parts[(which * rows + row) * 4]);
// nvcc 13.0 unrolls this loop wrongly when a part's numbers are read one by one (README.md, "Known of the compiler").
#pragma unroll 1
  for (std::int64_t which = 0; which < count; ++which) {
    const Pack<4> one = load<4>(parts + (which * rows + row) * 4, 4, aligned);
    joined.lane[1] = fmaf(one.lane[1], exp_below(one.lane[0], joined.lane[0]), joined.lane[1]);
    joined.lane[2] += one.lane[2];
    joined.lane[3] += one.lane[3];
  }
  store(statistics + 4 * row, joined, 4, aligned);
}

__global__ void __launch_bounds__(kRowThreads)
    loss_kernel(float* loss, const float* statistics, const float* weights, std::int64_t rows, CrossEntropy options) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  if (row >= rows) return;
  const float* of_row = statistics + 4 * row;
  const float weight = weights[row], smoothing = options.label_smoothing;
  const float lse = of_row[0] + logf(of_row[1]);
  const float mean = of_row[3] / static_cast<float>(options.vocabulary);
  const float hard = (1 - smoothing) * (lse - of_row[2]);
  // A masked row may hold anything, infinities too.
  loss[row] = weight == 0 ? 0.0f : weight * (hard + smoothing * (lse - mean) + options.z_loss * lse * lse);
}

struct RowInputs {
  const float* logits;
  const float* statistics;
  const std::int32_t* targets;
  const float* weights;
  const float* scale;
};

// `dlogits` may be the logits: a thread reads its packs before it writes them.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    backward_kernel(T* dlogits, RowInputs in, std::int64_t rows, std::int64_t columns, bool aligned,
                    CrossEntropy options) {
  for_each_pack<4>(rows, columns, [&](std::int64_t row, std::int64_t column, std::int64_t left) {
    const std::int64_t at = row * columns + column;
    const float weight = in.weights[row] * in.scale[0];
    Pack<4> result{};
    if (weight != 0 && column < options.valid_columns) {
      const Pack<4> l = load<4>(in.logits + at, left, aligned);
      const float most = in.statistics[4 * row], sum = in.statistics[4 * row + 1];
      const float slope = weight * (1 + 2 * options.z_loss * (most + logf(sum))) / sum;
      const float smooth = weight * options.label_smoothing / static_cast<float>(options.vocabulary);
      const float hit = weight * (1 - options.label_smoothing);
      const std::int64_t target = in.targets[row] - options.first_column - column;  // within the pack
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float gradient = fmaf(expf(l.lane[i] - most), slope, -smooth) - (i == target ? hit : 0.0f);
        result.lane[i] = column + i < options.valid_columns ? gradient : 0.0f;
      }
    }
    store(dlogits + at, result, left, aligned);
  });
}

void check_columns(const char* op, const Tensor& logits, const CrossEntropy& options) {
  CHECK(0 <= options.valid_columns && options.valid_columns <= logits.size(1), op, ": ", options.valid_columns,
        " valid columns of ", logits.size(1));
}

}  // namespace

void cross_entropy_statistics(Stream stream, Tensor statistics, Tensor logits, Tensor targets, CrossEntropy options) {
  const char* op = "cross_entropy_statistics";
  const Launch launch(stream, op);
  const std::int64_t rows = logits.size(0);
  check_operand(op, "logits", logits, DType::kF32, {rows, logits.size(1)});
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "targets", targets, DType::kI32, {rows});
  check_columns(op, logits, options);
  if (rows == 0) return;
  statistics_kernel<<<launch.blocks(rows), kRowThreads, 0, launch.stream>>>(
      as<float>(statistics), as<const float>(logits), as<const std::int32_t>(targets), logits.size(1),
      packs_aligned(4, logits.size(1), {logits}), options);
  launch.done();
}

void cross_entropy_merge(Stream stream, Tensor statistics, Tensor parts_of_row) {
  const char* op = "cross_entropy_merge";
  const Launch launch(stream, op);
  const std::int64_t rows = statistics.size(0), count = parts_of_row.size(0);
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "parts", parts_of_row, DType::kF32, {count, rows, 4});
  if (rows == 0) return;
  merge_kernel<<<launch.blocks(parts(rows, kRowThreads)), kRowThreads, 0, launch.stream>>>(
      as<float>(statistics), as<const float>(parts_of_row), count, rows,
      packs_aligned(4, 4, {statistics, parts_of_row}));
  launch.done();
}

void cross_entropy_loss(Stream stream, Tensor loss, Tensor statistics, Tensor weights, CrossEntropy options) {
  const char* op = "cross_entropy_loss";
  const Launch launch(stream, op);
  const std::int64_t rows = loss.size(0);
  check_operand(op, "loss", loss, DType::kF32, {rows});
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "weights", weights, DType::kF32, {rows});
  if (rows == 0) return;
  loss_kernel<<<launch.blocks(parts(rows, kRowThreads)), kRowThreads, 0, launch.stream>>>(
      as<float>(loss), as<const float>(statistics), as<const float>(weights), rows, options);
  launch.done();
}

void cross_entropy_backward(Stream stream, Tensor dlogits, Tensor logits, Tensor statistics, Tensor targets,
                            Tensor weights, Tensor scale, CrossEntropy options) {
  const char* op = "cross_entropy_backward";
  const Launch launch(stream, op);
  const std::int64_t rows = logits.size(0);
  check_operand(op, "logits", logits, DType::kF32, {rows, logits.size(1)});
  check_operand(op, "dlogits", dlogits, dlogits.dtype, logits.shape);
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "targets", targets, DType::kI32, {rows});
  check_operand(op, "weights", weights, DType::kF32, {rows});
  check_operand(op, "scale", scale, DType::kF32, {1});
  check_columns(op, logits, options);
  if (logits.elements() == 0) return;
  const RowInputs in{as<const float>(logits), as<const float>(statistics), as<const std::int32_t>(targets),
                     as<const float>(weights), as<const float>(scale)};
  with_type(dlogits.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const RowGrid on(launch, rows, logits.size(1), 4);
    backward_kernel<<<on.grid, on.block, 0, launch.stream>>>(
        as<T>(dlogits), in, rows, logits.size(1), packs_aligned(4, logits.size(1), {dlogits, logits}), options);
    launch.done();
  });
}

}  // namespace trireme::cuda
