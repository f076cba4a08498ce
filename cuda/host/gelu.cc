// With 1 + tanh z = 2 sigmoid(2 z) the op is y = x sigmoid(2 z), and dy/dx = s + x 2 z' s (1 - s).
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/gelu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/exp.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

constexpr float kTwoRootTwoOverPi = 1.5957691216057308f;  // 2 sqrt(2 / pi)
constexpr float kCubic = 0.044715f;

HWY_INLINE Vector gelu(Vector x) {
  const Vector inner = hn::MulAdd(hn::Mul(x, x), set(kCubic), set(1.0f));
  return hn::Mul(x, sigmoid(hn::Mul(hn::Mul(x, set(kTwoRootTwoOverPi)), inner)));
}

// s (1 - s) = sigmoid(|t|) sigmoid(-|t|): no cancellation. Where that is 0 the slope may be infinite; the product is 0.
HWY_INLINE Vector gelu_gradient(Vector dy, Vector x) {
  const Vector squared = hn::Mul(x, x);
  const Vector t = hn::Mul(hn::Mul(x, set(kTwoRootTwoOverPi)), hn::MulAdd(squared, set(kCubic), set(1.0f)));
  const Vector slope = hn::Mul(set(kTwoRootTwoOverPi), hn::MulAdd(squared, set(3 * kCubic), set(1.0f)));
  const Vector decay = exp(hn::Neg(hn::Abs(t)));
  const Vector above = hn::Div(set(1.0f), hn::Add(set(1.0f), decay));  // sigmoid(|t|)
  const Vector below = hn::Mul(decay, above);                          // sigmoid(-|t|)
  const Vector s = hn::IfThenElse(hn::Lt(t, zero()), below, above);
  const Vector bend = hn::IfThenElseZero(hn::Gt(below, zero()), hn::Mul(hn::Mul(x, slope), hn::Mul(above, below)));
  return hn::Mul(dy, hn::Add(s, bend));
}

void gelu_forward_range(const Tensor& y, const Tensor& x, std::int64_t begin, std::int64_t end) {
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    map(
        end - begin, [](Vector v) HWY_ATTR { return gelu(v); }, as<T>(y) + begin, as<T>(x) + begin);
  });
}

void gelu_backward_range(const Tensor& dx, const Tensor& dy, const Tensor& x, std::int64_t begin, std::int64_t end) {
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    map(
        end - begin, [](Vector g, Vector v) HWY_ATTR { return gelu_gradient(g, v); }, as<T>(dx) + begin,
        as<T>(dy) + begin, as<T>(x) + begin);
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(gelu_forward_range);
HWY_EXPORT(gelu_backward_range);

void gelu_forward(Stream stream, Tensor y, Tensor x) {
  check_operand("gelu_forward", "y", y, x.dtype, x.shape);
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.elements(), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(gelu_forward_range)(y, x, begin, end);
    });
  });
}

void gelu_backward(Stream stream, Tensor dx, Tensor dy, Tensor x) {
  check_operand("gelu_backward", "dx", dx, x.dtype, x.shape);
  check_operand("gelu_backward", "dy", dy, x.dtype, x.shape);
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.elements(), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(gelu_backward_range)(dx, dy, x, begin, end);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
