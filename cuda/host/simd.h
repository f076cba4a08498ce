// Rows of fp32, bf16 and fp16 as vectors of fp32, once for each instruction set: included inside Highway's
// foreach_target (no #pragma once; see cuda/host/pointwise.cc for the pattern). Highway 1.0.3 truncates fp32 to bf16,
// and AVX-512's own instruction flushes subnormals, so the rounding here is ours: to nearest, ties to even, NaN stays
// NaN, subnormals stay.
//
// Invariants: `map` treats an element the same wherever it stands; `sum` adds in an order that depends on n and the
// instruction set only. Internal to cuda/host.
#if defined(TRIREME_CUDA_HOST_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_CUDA_HOST_SIMD_H_
#undef TRIREME_CUDA_HOST_SIMD_H_
#else
#define TRIREME_CUDA_HOST_SIMD_H_
#endif

#include <array>
#include <bit>
#include <cstring>

#include <hwy/highway.h>

#include "cuda/host/elements.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using Vector = hn::Vec<F32>;  // of fp32

HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(F32())); }
HWY_INLINE Vector set(float value) { return hn::Set(F32(), value); }
HWY_INLINE Vector zero() { return hn::Zero(F32()); }

HWY_INLINE Vector load(const float* from) { return hn::LoadU(F32(), from); }
HWY_INLINE Vector load(const BFloat16* from) {
  const hn::Rebind<std::uint16_t, F32> half;
  const auto bits = hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), bits)));
}
#if HWY_TARGET == HWY_SCALAR
// Without F16C: Highway 1.0.3 cuts where this rounds to nearest, ties to even, and knows neither infinities nor NaN.
HWY_INLINE Vector load(const Float16* from) {
  std::uint16_t half;
  std::memcpy(&half, from, sizeof half);
  const std::uint32_t sign = (half & 0x8000U) << 16, magnitude = half & 0x7FFFU;
  std::uint32_t bits = (magnitude << 13) + (112U << 23);
  if (magnitude >= 0x7C00)
    bits = 0x7F800000 | magnitude << 13 | (magnitude > 0x7C00 ? 0x400000 : 0);
  else if (magnitude < 0x400)
    bits = std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-24F);
  return set(std::bit_cast<float>(sign | bits));
}
HWY_INLINE void store(Vector v, Float16* to) {
  const auto bits = std::bit_cast<std::uint32_t>(hn::GetLane(v));
  const std::uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  std::uint32_t half = ((magnitude + 0xFFF + (magnitude >> 13 & 1)) >> 13) - (112U << 10);
  if (magnitude > 0x7F800000)
    half = 0x7E00 | (magnitude >> 13 & 0x3FF);
  else if (magnitude >= 0x477FF000)  // 65520, which is halfway to 2^16, and beyond
    half = 0x7C00;
  else if (magnitude < 0x38800000)  // subnormal below 2^-14: in 0.5 to 1 neighbours are 2^-24 apart
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000;
  const auto whole = static_cast<std::uint16_t>(sign | half);
  std::memcpy(to, &whole, sizeof whole);
}
#else
HWY_INLINE Vector load(const Float16* from) {
  const hn::Rebind<hwy::float16_t, F32> half;
  return hn::PromoteTo(F32(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
}

HWY_INLINE void store(Vector v, Float16* to) {
  const hn::Rebind<hwy::float16_t, F32> half;
  hn::StoreU(hn::DemoteTo(half, v), half, reinterpret_cast<hwy::float16_t*>(to));
}
#endif

HWY_INLINE void store(Vector v, float* to) { hn::StoreU(v, F32(), to); }
HWY_INLINE void store(Vector v, BFloat16* to) {
  const U32 d;
  const auto bits = hn::BitCast(d, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7FFF))));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(d, 0x40));
  const auto top = hn::IfThenElse(hn::RebindMask(d, hn::IsNaN(v)), quiet, rounded);
  const hn::Rebind<std::uint16_t, F32> half;
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(I32(), top)), half, reinterpret_cast<std::uint16_t*>(to));
}

// The first `count` lanes, fewer than a vector; the rest is 0, and left alone.
template <class T>
HWY_INLINE Vector load_part(const T* from, std::int64_t count) {
  alignas(64) T buffer[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(buffer, from, static_cast<std::size_t>(count) * sizeof(T));
  return load(buffer);
}
template <class T>
HWY_INLINE void store_part(Vector v, T* to, std::int64_t count) {
  alignas(64) T buffer[HWY_MAX_BYTES / sizeof(float)];
  store(v, buffer);
  std::memcpy(to, buffer, static_cast<std::size_t>(count) * sizeof(T));
}

// out[i] = function(in[i]...) for i in [0, n). `out` may be one of the inputs.
template <class Function, class Out, class... In>
HWY_INLINE void map(std::int64_t n, const Function& function, Out* out, const In*... in) {
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) store(function(load(in + i)...), out + i);
  if (i < n) store_part(function(load_part(in + i, n - i)...), out + i, n - i);
}

// K sums over i in [0, n) at once: function(in[i]...) is an array of K vectors. Four partial sums each hide the
// latency.
template <std::size_t K, class Function, class... In>
HWY_INLINE std::array<float, K> sums(std::int64_t n, const Function& function, const In*... in) {
  constexpr std::int64_t kUnroll = 4;
  std::array<Vector, K> partial[kUnroll];
  for (auto& part : partial) part.fill(zero());
  std::int64_t i = 0;
  for (; i + kUnroll * lanes() <= n; i += kUnroll * lanes())
    for (std::int64_t u = 0; u < kUnroll; ++u) {
      const std::array<Vector, K> terms = function(load(in + i + u * lanes())...);
      for (std::size_t k = 0; k < K; ++k) partial[u][k] = hn::Add(partial[u][k], terms[k]);
    }
  for (; i < n; i += lanes()) {
    const std::int64_t count = std::min(lanes(), n - i);
    const std::array<Vector, K> terms = function(load_part(in + i, count)...);
    const auto real = hn::FirstN(F32(), static_cast<std::size_t>(count));
    for (std::size_t k = 0; k < K; ++k) partial[0][k] = hn::Add(partial[0][k], hn::IfThenElseZero(real, terms[k]));
  }
  std::array<float, K> total;
  for (std::size_t k = 0; k < K; ++k)
    total[k] = hn::GetLane(
        hn::SumOfLanes(F32(), hn::Add(hn::Add(partial[0][k], partial[1][k]), hn::Add(partial[2][k], partial[3][k]))));
  return total;
}
template <class Function, class... In>
HWY_INLINE float sum(std::int64_t n, const Function& function, const In*... in) {
  const auto one = [&](auto... v) HWY_ATTR { return std::array<Vector, 1>{function(v...)}; };
  return sums<1>(n, one, in...)[0];
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
