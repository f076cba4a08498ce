#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/swiglu.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/exp.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void swiglu_forward_rows(const Tensor& y, const Tensor& x, std::int64_t begin, std::int64_t end) {
  const std::int64_t features = y.size(1);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const auto gated = [](Vector gate, Vector up) HWY_ATTR { return hn::Mul(hn::Mul(gate, sigmoid(gate)), up); };
    for (std::int64_t r = begin; r < end; ++r) {
      const T* gate = as<T>(x) + r * 2 * features;
      map(features, gated, as<T>(y) + r * features, gate, gate + features);
    }
  });
}

struct Gradients {
  Vector gate, up;
};
// d/dgate of gate s(gate) is s (1 + gate (1 - s)). Both s and 1 - s come from e^-|gate|, without cancellation.
HWY_INLINE Gradients swiglu_gradients(Vector dy, Vector gate, Vector up) {
  const Vector decay = exp(hn::Neg(hn::Abs(gate)));
  const Vector above = hn::Div(set(1.0f), hn::Add(set(1.0f), decay));  // sigmoid(|gate|)
  const Vector below = hn::Mul(decay, above);                          // sigmoid(-|gate|)
  const auto negative = hn::Lt(gate, zero());
  const Vector s = hn::IfThenElse(negative, below, above);
  const Vector rest = hn::IfThenElse(negative, above, below);
  const Vector slope = hn::MulAdd(gate, rest, set(1.0f));
  return {hn::Mul(hn::Mul(dy, up), hn::Mul(s, slope)), hn::Mul(dy, hn::Mul(gate, s))};
}

void swiglu_backward_rows(const Tensor& dx, const Tensor& dy, const Tensor& x, std::int64_t begin, std::int64_t end) {
  const std::int64_t features = dy.size(1);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const T* gate = as<T>(x) + r * 2 * features;
      const T* up = gate + features;
      const T* g = as<T>(dy) + r * features;
      T* dgate = as<T>(dx) + r * 2 * features;
      T* dup = dgate + features;
      std::int64_t i = 0;
      for (; i + lanes() <= features; i += lanes()) {
        const Gradients d = swiglu_gradients(load(g + i), load(gate + i), load(up + i));
        store(d.gate, dgate + i);
        store(d.up, dup + i);
      }
      if (i == features) continue;
      const std::int64_t part = features - i;
      const Gradients d = swiglu_gradients(load_part(g + i, part), load_part(gate + i, part), load_part(up + i, part));
      store_part(d.gate, dgate + i, part);
      store_part(d.up, dup + i, part);
    }
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(swiglu_forward_rows);
HWY_EXPORT(swiglu_backward_rows);

void swiglu_forward(Stream stream, Tensor y, Tensor x) {
  CHECK(x.shape.dims() == 3 && x.size(1) == 2, "swiglu_forward: x is ", to_string(x.shape), ", should be [R, 2, F]");
  check_operand("swiglu_forward", "y", y, x.dtype, {x.size(0), x.size(2)});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(swiglu_forward_rows)(y, x, begin, end);
    });
  });
}

void swiglu_backward(Stream stream, Tensor dx, Tensor dy, Tensor x) {
  CHECK(x.shape.dims() == 3 && x.size(1) == 2, "swiglu_backward: x is ", to_string(x.shape), ", should be [R, 2, F]");
  check_operand("swiglu_backward", "dx", dx, x.dtype, x.shape);
  check_operand("swiglu_backward", "dy", dy, x.dtype, {x.size(0), x.size(2)});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(swiglu_backward_rows)(dx, dy, x, begin, end);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
