// exp and the logistic function for vectors of fp32, once for each instruction set (as cuda/host/simd.h).
// Errors (tests/cuda/exp_test.cc): exp 1.1 ulp, sigmoid 2.1 ulp, wherever the result is normal.
#if defined(TRIREME_CUDA_HOST_EXP_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_CUDA_HOST_EXP_H_
#undef TRIREME_CUDA_HOST_EXP_H_
#else
#define TRIREME_CUDA_HOST_EXP_H_
#endif

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

// e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2; e^r by the Taylor polynomial of degree 7 (truncation 2^-27 of
// it). 0 where e^x would be subnormal (x < -87.33), infinity beyond the largest fp32; NaN stays.
HWY_INLINE Vector exp(Vector x) {
  const F32 d;
  const Vector bounded = hn::Min(hn::Max(x, set(-87.33f)), set(88.72283f));
  const Vector n = hn::Round(hn::Mul(bounded, set(1.44269504f)));
  // ln 2 in two parts: n times the first is exact.
  Vector r = hn::NegMulAdd(n, set(0.693145752f), bounded);
  r = hn::NegMulAdd(n, set(1.42860677e-6f), r);
  Vector p = set(1.0f / 5040);
  p = hn::MulAdd(p, r, set(1.0f / 720));
  p = hn::MulAdd(p, r, set(1.0f / 120));
  p = hn::MulAdd(p, r, set(1.0f / 24));
  p = hn::MulAdd(p, r, set(1.0f / 6));
  p = hn::MulAdd(p, r, set(0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), set(1.0f));
  const auto scaled = hn::Add(hn::BitCast(I32(), p), hn::ShiftLeft<23>(hn::ConvertTo(I32(), n)));
  Vector y = hn::BitCast(d, scaled);
  y = hn::IfThenZeroElse(hn::Lt(x, set(-87.33f)), y);
  y = hn::IfThenElse(hn::Gt(x, set(88.72283f)), set(HUGE_VALF), y);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// 1 / (1 + e^-x); sigmoid(-x) is 1 - sigmoid(x) without cancellation.
HWY_INLINE Vector sigmoid(Vector x) { return hn::Div(set(1.0f), hn::Add(set(1.0f), exp(hn::Neg(x)))); }

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
