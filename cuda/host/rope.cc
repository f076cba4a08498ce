// Angles are computed and reduced in fp64, since a position of 100000 leaves fp32 no digits after the point; a row's
// sines serve all its heads.
#include <cmath>
#include <vector>

#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/rope.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

// sin or cos of r in [-pi/4, pi/4] by Taylor, to 2^-30 of the result.
HWY_INLINE Vector sine(Vector r) {
  const Vector z = hn::Mul(r, r);
  Vector p = hn::MulAdd(z, set(2.7557319e-6f), set(-1.9841270e-4f));
  p = hn::MulAdd(p, z, set(8.3333333e-3f));
  p = hn::MulAdd(p, z, set(-1.6666667e-1f));
  return hn::MulAdd(hn::Mul(p, z), r, r);
}
HWY_INLINE Vector cosine(Vector r) {
  const Vector z = hn::Mul(r, r);
  Vector p = hn::MulAdd(z, set(2.4801587e-5f), set(-1.3888889e-3f));
  p = hn::MulAdd(p, z, set(4.1666667e-2f));
  p = hn::MulAdd(p, z, set(-0.5f));
  return hn::MulAdd(p, z, set(1.0f));
}

// sines[i], cosines[i] of position * frequency[i], i in [0, n). Quarter turns are taken off in fp64.
HWY_INLINE void angles(std::int64_t n, double position, const double* frequency, float* turned, float* quarters,
                       float* sines, float* cosines) {
  constexpr double kHalfPi = 1.57079632679489661923;
  constexpr double kHalfPiRest = 6.123233995736766e-17;
  for (std::int64_t i = 0; i < n; ++i) {
    const double angle = position * frequency[i];
    const double turns = std::nearbyint(angle * (1 / kHalfPi));
    turned[i] = static_cast<float>(std::fma(-turns, kHalfPiRest, std::fma(-turns, kHalfPi, angle)));
    quarters[i] = static_cast<float>(turns - 4 * std::floor(turns / 4));  // 0, 1, 2, 3
  }
  const auto is = [](Vector q, float which) HWY_ATTR { return hn::Eq(q, set(which)); };
  // sin: s, c, -s, -c; cos: c, -s, -c, s in quarters 0, 1, 2, 3.
  map(
      n,
      [&](Vector r, Vector q) HWY_ATTR {
        const Vector v = hn::IfThenElse(hn::Or(is(q, 1), is(q, 3)), cosine(r), sine(r));
        return hn::IfThenElse(hn::Ge(q, set(2)), hn::Neg(v), v);
      },
      sines, turned, quarters);
  map(
      n,
      [&](Vector r, Vector q) HWY_ATTR {
        const Vector v = hn::IfThenElse(hn::Or(is(q, 1), is(q, 3)), sine(r), cosine(r));
        return hn::IfThenElse(hn::Or(is(q, 1), is(q, 2)), hn::Neg(v), v);
      },
      cosines, turned, quarters);
}

void rope_rows(const Tensor& x, const Tensor& positions, const std::vector<double>& frequency, int sign,
               std::int64_t begin, std::int64_t end) {
  const std::int64_t heads = x.size(2), half = x.size(3) / 2;
  const std::int64_t stride = x.size(1) * heads * 2 * half;  // of rows; only x[:, 0] is turned
  std::vector<float> scratch(static_cast<std::size_t>(4 * half));
  float* sines = scratch.data();
  float* cosines = sines + half;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      angles(half, sign * static_cast<double>(as<std::int32_t>(positions)[r]), frequency.data(), cosines + half,
             cosines + 2 * half, sines, cosines);
      for (std::int64_t h = 0; h < heads; ++h) {
        T* low = as<T>(x) + r * stride + h * 2 * half;
        T* high = low + half;
        std::int64_t i = 0;
        for (; i + lanes() <= half; i += lanes()) {
          const Vector a = load(low + i), b = load(high + i), s = load(sines + i), c = load(cosines + i);
          store(hn::NegMulAdd(b, s, hn::Mul(a, c)), low + i);
          store(hn::MulAdd(a, s, hn::Mul(b, c)), high + i);
        }
        if (i == half) continue;
        const std::int64_t rest = half - i;
        const Vector a = load_part(low + i, rest), b = load_part(high + i, rest);
        const Vector s = load_part(sines + i, rest), c = load_part(cosines + i, rest);
        store_part(hn::NegMulAdd(b, s, hn::Mul(a, c)), low + i, rest);
        store_part(hn::MulAdd(a, s, hn::Mul(b, c)), high + i, rest);
      }
    }
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(rope_rows);

void rope(Stream stream, Tensor x, Tensor positions, double theta, int sign) {
  const char* op = "rope";
  CHECK(x.shape.dims() == 4 && x.size(3) % 2 == 0, op, ": x is ", to_string(x.shape),
        ", should be [R, S, H, D] with D even");
  CHECK(sign == 1 || sign == -1, op, ": sign ", sign);
  check_operand(op, "positions", positions, DType::kI32, {x.size(0)});
  enqueue(stream, [=](int threads) {
    std::vector<double> frequency(static_cast<std::size_t>(x.size(3) / 2));
    for (std::size_t d = 0; d < frequency.size(); ++d)
      frequency[d] = std::pow(theta, -2.0 * static_cast<double>(d) / static_cast<double>(x.size(3)));
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(rope_rows)(x, positions, frequency, sign, begin, end);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
