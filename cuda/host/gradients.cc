#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda/host/block_sums.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"
#include "cuda/host/tensor_list.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/gradients.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

float sum_of_squares(const float* x, std::int64_t n) {
  return sum(
      n, [](Vector v) HWY_ATTR { return hn::Mul(v, v); }, x);
}

// Whether an exponent is all ones.
bool any_nonfinite(const float* x, std::int64_t n) {
  const I32 d;
  const auto exponent = hn::Set(d, 0x7F800000);
  auto found = hn::Zero(d);
  for (std::int64_t i = 0; i < n; i += lanes()) {
    const Vector v = i + lanes() <= n ? load(x + i) : load_part(x + i, n - i);
    const auto bits = hn::And(hn::BitCast(d, v), exponent);
    found = hn::Or(found, hn::VecFromMask(d, hn::Eq(bits, exponent)));
  }
  return !hn::AllFalse(d, hn::MaskFromVec(found));
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(sum_of_squares);
HWY_EXPORT(any_nonfinite);

void square_sums(Stream stream, Tensor sums, Tensors x) {
  TensorList list("square_sums", "a tensor of x", x);
  check_operand("square_sums", "sums", sums, DType::kF32, {list.chunks(kSumBlock)});
  enqueue(stream, [sums, list = std::move(list)](int threads) {
    list.for_each_chunk(
        threads, kSumBlock, [&](std::int64_t block, std::size_t i, std::int64_t begin, std::int64_t end) {
          as<float>(sums)[block] = HWY_DYNAMIC_DISPATCH(sum_of_squares)(as<float>(list[i]) + begin, end - begin);
        });
  });
}

void find_nonfinite(Stream stream, Tensor flags, Tensors x) {
  constexpr std::int64_t kChunk = 16384;  // elements
  TensorList list("find_nonfinite", "a tensor of x", x);
  check_operand("find_nonfinite", "flags", flags, DType::kI32, {static_cast<std::int64_t>(list.size())});
  enqueue(stream, [flags, list = std::move(list)](int threads) {
    std::vector<char> found(static_cast<std::size_t>(list.chunks(kChunk)));
    list.for_each_chunk(threads, kChunk, [&](std::int64_t chunk, std::size_t i, std::int64_t begin, std::int64_t end) {
      found[static_cast<std::size_t>(chunk)] =
          HWY_DYNAMIC_DISPATCH(any_nonfinite)(as<float>(list[i]) + begin, end - begin);
    });
    list.for_each_chunk(1, kChunk, [&](std::int64_t chunk, std::size_t i, std::int64_t, std::int64_t) {
      if (found[static_cast<std::size_t>(chunk)]) as<std::int32_t>(flags)[i] = 1;
    });
  });
}

void decide_step(Stream stream, StepControl control, Tensor sums, float limit, LossScale moves) {
  const char* op = "decide_step";
  check_operand(op, "norm", control.norm, DType::kF32, {1});
  check_operand(op, "clip", control.clip, DType::kF32, {1});
  check_operand(op, "factor", control.factor, DType::kF32, {1});
  check_operand(op, "skip", control.skip, DType::kI32, {1});
  check_operand(op, "applied", control.applied, DType::kI64, {1});
  check_operand(op, "scale", control.scale, DType::kF32, {1});
  check_operand(op, "good", control.good, DType::kI64, {1});
  check_operand(op, "sums", sums, DType::kF32, {sums.elements()});
  CHECK(moves.interval >= 1, op, ": an interval of ", moves.interval, " steps");
  enqueue(stream, [=](int) {
    float& scale = *as<float>(control.scale);
    std::int64_t& good = *as<std::int64_t>(control.good);
    const float norm = std::sqrt(tree_sum(as<float>(sums), static_cast<std::size_t>(sums.elements()))) / scale;
    const float clip = norm > limit && limit > 0 ? limit / norm : 1;
    const bool skip = !std::isfinite(norm);
    *as<float>(control.norm) = norm;
    *as<float>(control.clip) = clip;
    *as<float>(control.factor) = clip / scale;
    *as<std::int32_t>(control.skip) = skip;
    *as<std::int64_t>(control.applied) += !skip;

    good = skip ? 0 : good + 1;
    if (skip) {
      scale = std::max(scale * moves.backoff, moves.least);
    } else if (good >= moves.interval) {
      good = 0;
      if (std::isfinite(scale * moves.growth)) scale *= moves.growth;
    }
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
