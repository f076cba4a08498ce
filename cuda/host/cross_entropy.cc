// The logits are the largest tensor of a step, so they are read once a pass: blocks that stay in cache give first their
// maximum, then their sum of exponentials under it.
#include <cmath>

#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/cross_entropy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/exp.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

constexpr std::int64_t kBlockColumns = 1024;

HWY_INLINE float largest(const float* x, std::int64_t n) {
  const F32 d;
  Vector most = set(-HUGE_VALF);
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) most = hn::Max(most, load(x + i));
  float result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < n; ++i) result = std::max(result, x[i]);
  return result;
}

HWY_INLINE float exp_one(float x) { return hn::GetLane(exp(set(x))); }
// exp(x - most); 0 for -inf whatever `most` is.
HWY_INLINE float exp_below(float x, float most) { return x == -HUGE_VALF ? 0 : exp_one(x - most); }

void statistics_row(float* out, const float* logits, std::int32_t target, const CrossEntropy& options) {
  float most = -HUGE_VALF;
  float exponentials = 0;
  float total = 0;
  for (std::int64_t begin = 0; begin < options.valid_columns; begin += kBlockColumns) {
    const std::int64_t columns = std::min(kBlockColumns, options.valid_columns - begin);
    const float* block = logits + begin;
    const float before = most;
    most = std::max(most, largest(block, columns));
    const Vector base = set(most == -HUGE_VALF ? 0 : most);
    const auto both = [=](Vector l) HWY_ATTR { return std::array<Vector, 2>{exp(hn::Sub(l, base)), l}; };
    const std::array<float, 2> block_sums = sums<2>(columns, both, block);
    exponentials = exponentials * exp_below(before, most) + block_sums[0];
    total += block_sums[1];
  }
  const std::int64_t column = target - options.first_column;
  out[0] = most;
  out[1] = exponentials;
  out[2] = 0 <= column && column < options.valid_columns ? logits[column] : 0;
  out[3] = total;
}

void statistics_rows(const Tensor& statistics, const Tensor& logits, const Tensor& targets, const CrossEntropy& options,
                     std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r)
    statistics_row(as<float>(statistics) + 4 * r, as<float>(logits) + r * logits.size(1), as<std::int32_t>(targets)[r],
                   options);
}

void merge_rows(const Tensor& statistics, const Tensor& parts, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const auto part = [&](std::int64_t which) { return as<float>(parts) + (which * parts.size(1) + r) * 4; };
    float joined[4] = {-HUGE_VALF, 0, 0, 0};
    for (std::int64_t which = 0; which < parts.size(0); ++which) joined[0] = std::max(joined[0], part(which)[0]);
    for (std::int64_t which = 0; which < parts.size(0); ++which) {
      const float* one = part(which);
      joined[1] += one[1] * exp_below(one[0], joined[0]);
      joined[2] += one[2];
      joined[3] += one[3];
    }
    std::copy_n(joined, 4, as<float>(statistics) + 4 * r);
  }
}

template <class T>
void backward_row(T* out, const float* logits, const float* statistics, std::int32_t target, float weight,
                  std::int64_t columns, const CrossEntropy& options) {
  const std::int64_t valid = weight == 0 ? 0 : options.valid_columns;
  std::memset(static_cast<void*>(out + valid), 0, static_cast<std::size_t>(columns - valid) * sizeof(T));
  if (valid == 0) return;
  const float lse = statistics[0] + std::log(statistics[1]);
  const float most = statistics[0];
  const float slope = weight * (1 + 2 * options.z_loss * lse) / statistics[1];
  const float smooth = weight * options.label_smoothing / static_cast<float>(options.vocabulary);
  const std::int64_t column = target - options.first_column;
  const bool here = 0 <= column && column < valid;
  const float at_target = here ? logits[column] : 0;  // `out` may be the logits

  const auto gradient = [=](Vector l)
                            HWY_ATTR { return hn::MulSub(exp(hn::Sub(l, set(most))), set(slope), set(smooth)); };
  map(valid, gradient, out, logits);
  if (here) {
    const float hit = hn::GetLane(gradient(set(at_target))) - weight * (1 - options.label_smoothing);
    store_part(set(hit), out + column, 1);
  }
}

void backward_rows(const Tensor& dlogits, const Tensor& logits, const Tensor& statistics, const Tensor& targets,
                   const Tensor& weights, const Tensor& scale, const CrossEntropy& options, std::int64_t begin,
                   std::int64_t end) {
  const std::int64_t columns = logits.size(1);
  with_type(dlogits.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r)
      backward_row(as<T>(dlogits) + r * columns, as<float>(logits) + r * columns, as<float>(statistics) + 4 * r,
                   as<std::int32_t>(targets)[r], as<float>(weights)[r] * as<float>(scale)[0], columns, options);
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(statistics_rows);
HWY_EXPORT(merge_rows);
HWY_EXPORT(backward_rows);

namespace {

void check_columns(const char* op, const Tensor& logits, const CrossEntropy& options) {
  CHECK(0 <= options.valid_columns && options.valid_columns <= logits.size(1), op, ": ", options.valid_columns,
        " valid columns of ", logits.size(1));
}

}  // namespace

void cross_entropy_statistics(Stream stream, Tensor statistics, Tensor logits, Tensor targets, CrossEntropy options) {
  const char* op = "cross_entropy_statistics";
  const std::int64_t rows = logits.size(0);
  check_operand(op, "logits", logits, DType::kF32, {rows, logits.size(1)});
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "targets", targets, DType::kI32, {rows});
  check_columns(op, logits, options);
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, logits.elements()), rows, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(statistics_rows)(statistics, logits, targets, options, begin, end);
    });
  });
}

void cross_entropy_merge(Stream stream, Tensor statistics, Tensor parts) {
  const std::int64_t rows = statistics.size(0);
  check_operand("cross_entropy_merge", "statistics", statistics, DType::kF32, {rows, 4});
  check_operand("cross_entropy_merge", "parts", parts, DType::kF32, {parts.size(0), rows, 4});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, parts.elements()), rows, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(merge_rows)(statistics, parts, begin, end);
    });
  });
}

void cross_entropy_loss(Stream stream, Tensor loss, Tensor statistics, Tensor weights, CrossEntropy options) {
  const char* op = "cross_entropy_loss";
  const std::int64_t rows = loss.size(0);
  check_operand(op, "loss", loss, DType::kF32, {rows});
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "weights", weights, DType::kF32, {rows});
  enqueue(stream, [=](int) {
    const float smoothing = options.label_smoothing;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float weight = as<float>(weights)[r];
      const float* row = as<float>(statistics) + 4 * r;
      const float lse = row[0] + std::log(row[1]);
      const float mean = row[3] / static_cast<float>(options.vocabulary);
      const float hard = (1 - smoothing) * (lse - row[2]);
      // A masked row may hold anything, infinities too.
      as<float>(loss)[r] = weight == 0 ? 0 : weight * (hard + smoothing * (lse - mean) + options.z_loss * lse * lse);
    }
  });
}

void cross_entropy_backward(Stream stream, Tensor dlogits, Tensor logits, Tensor statistics, Tensor targets,
                            Tensor weights, Tensor scale, CrossEntropy options) {
  const char* op = "cross_entropy_backward";
  const std::int64_t rows = logits.size(0);
  check_operand(op, "logits", logits, DType::kF32, {rows, logits.size(1)});
  check_operand(op, "dlogits", dlogits, dlogits.dtype, logits.shape);
  check_operand(op, "statistics", statistics, DType::kF32, {rows, 4});
  check_operand(op, "targets", targets, DType::kI32, {rows});
  check_operand(op, "weights", weights, DType::kF32, {rows});
  check_operand(op, "scale", scale, DType::kF32, {1});
  check_columns(op, logits, options);
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, logits.elements()), rows, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(backward_rows)
      (dlogits, logits, statistics, targets, weights, scale, options, begin, end);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
