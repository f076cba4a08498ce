// One pass: every element is read once and written once, so that the step runs at the speed of memory.
#include <cmath>
#include <vector>

#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"
#include "cuda/host/tensor_list.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/adamw.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

#ifndef TRIREME_CUDA_HOST_ADAMW_FACTORS
#define TRIREME_CUDA_HOST_ADAMW_FACTORS
namespace trireme::host {
// The scalars of one update. Corrections are computed in fp64: 1 - 0.999^1 has three digits in fp32.
struct AdamWFactors {
  float gradient, beta1, rest1, beta2, rest2, correction1, correction2, learning_rate, epsilon, decay;
};
}  // namespace trireme::host
#endif

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

template <class T>
void adamw_chunk(T* parameter, float* master, float* m, float* v, const float* gradient, std::int64_t n,
                 const AdamWFactors& f) {
  const auto update = [&](Vector old, Vector g, Vector& m1, Vector& v1) HWY_ATTR {
    g = hn::Mul(g, set(f.gradient));
    m1 = hn::MulAdd(m1, set(f.beta1), hn::Mul(g, set(f.rest1)));
    v1 = hn::MulAdd(v1, set(f.beta2), hn::Mul(hn::Mul(g, g), set(f.rest2)));
    const Vector root = hn::Add(hn::Sqrt(hn::Mul(v1, set(f.correction2))), set(f.epsilon));
    const Vector step = hn::MulAdd(old, set(f.decay), hn::Div(hn::Mul(m1, set(f.correction1)), root));
    return hn::NegMulAdd(set(f.learning_rate), step, old);
  };
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) {
    Vector m1 = load(m + i), v1 = load(v + i);
    const Vector updated = update(load(master + i), load(gradient + i), m1, v1);
    store(m1, m + i);
    store(v1, v + i);
    store(updated, master + i);
    store(updated, parameter + i);
  }
  if (i == n) return;
  const std::int64_t rest = n - i;
  Vector m1 = load_part(m + i, rest), v1 = load_part(v + i, rest);
  const Vector updated = update(load_part(master + i, rest), load_part(gradient + i, rest), m1, v1);
  store_part(m1, m + i, rest);
  store_part(v1, v + i, rest);
  store_part(updated, master + i, rest);
  store_part(updated, parameter + i, rest);
}

void adamw_range(const Tensor& parameter, const Tensor& master, const Tensor& m, const Tensor& v,
                 const Tensor& gradient, std::int64_t begin, std::int64_t end, const AdamWFactors& factors) {
  with_type(parameter.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    adamw_chunk(as<T>(parameter) + begin, as<float>(master) + begin, as<float>(m) + begin, as<float>(v) + begin,
                as<float>(gradient) + begin, end - begin, factors);
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(adamw_range);

namespace {

AdamWFactors factors_of(const AdamW& adamw, float gradient, std::int64_t updates) {
  const auto remaining = [&](float beta) {
    return 1 - std::pow(static_cast<double>(beta), static_cast<double>(updates));
  };
  return {.gradient = gradient,
          .beta1 = adamw.beta1,
          .rest1 = 1 - adamw.beta1,
          .beta2 = adamw.beta2,
          .rest2 = 1 - adamw.beta2,
          .correction1 = static_cast<float>(1 / remaining(adamw.beta1)),
          .correction2 = static_cast<float>(1 / remaining(adamw.beta2)),
          .learning_rate = adamw.learning_rate,
          .epsilon = adamw.epsilon,
          .decay = adamw.weight_decay};
}

}  // namespace

void adamw(Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
           StepControl control, AdamW adamw) {
  const char* op = "adamw";
  constexpr std::int64_t kChunk = 16384;  // elements: 64 KiB of each of four tensors
  CHECK(parameters.size() == masters.size() && m.size() == masters.size() && v.size() == masters.size() &&
            gradients.size() == masters.size(),
        op, ": ", parameters.size(), " parameters, ", masters.size(), " masters, ", m.size(), " m, ", v.size(), " v, ",
        gradients.size(), " gradients");
  for (std::size_t i = 0; i < masters.size(); ++i) {
    check_operand(op, "a parameter", parameters[i], parameters[i].dtype, masters[i].shape);
    for (const Tensor& one : {m[i], v[i], gradients[i]})
      check_operand(op, "m, v or a gradient", one, DType::kF32, masters[i].shape);
  }
  check_operand(op, "factor", control.factor, DType::kF32, {1});
  check_operand(op, "skip", control.skip, DType::kI32, {1});
  check_operand(op, "applied", control.applied, DType::kI64, {1});
  const auto held = [](Tensors tensors) { return std::vector<Tensor>(tensors.begin(), tensors.end()); };
  enqueue(stream, [=, parameter = held(parameters), master = TensorList(op, "a master", masters), first = held(m),
                   second = held(v), gradient = held(gradients)](int threads) {
    if (*as<std::int32_t>(control.skip) != 0) return;
    const AdamWFactors factors = factors_of(adamw, *as<float>(control.factor), *as<std::int64_t>(control.applied));
    master.for_each_chunk(threads, kChunk, [&](std::int64_t, std::size_t i, std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(adamw_range)(parameter[i], master[i], first[i], second[i], gradient[i], begin, end, factors);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
