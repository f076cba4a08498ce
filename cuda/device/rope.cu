// x [R, S, H, D], only x[:, 0]: pairs (d, d + D/2) turn by sign * position * theta^(-2d/D).
// 2 R H D s bytes, which bind: a block takes a row, and its D/2 sines and cosines serve all heads. Angles are computed
// and reduced in fp64 (a position of 100000 leaves fp32 no digits after the point), 4 operations of fp64 an angle.
#include <cmath>

#include "cuda/device/elements.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"

namespace trireme::cuda {
namespace {

constexpr int kMostPairs = 256;  // D / 2
struct Frequencies {
  double of[kMostPairs];
};

// sin and cos of r in [-pi/4, pi/4] by Taylor, to 2^-30 of the result.
__device__ inline float sine(float r) {
  const float z = r * r;
  float p = fmaf(z, 2.7557319e-6f, -1.9841270e-4f);
  p = fmaf(p, z, 8.3333333e-3f);
  p = fmaf(p, z, -1.6666667e-1f);
  return fmaf(p * z, r, r);
}
__device__ inline float cosine(float r) {
  const float z = r * r;
  float p = fmaf(z, 2.4801587e-5f, -1.3888889e-3f);
  p = fmaf(p, z, 4.1666667e-2f);
  p = fmaf(p, z, -0.5f);
  return fmaf(p, z, 1.0f);
}

struct Turn {
  float sine, cosine;
};
__device__ inline Turn turn_by(double angle) {
  constexpr double kHalfPi = 1.57079632679489661923, kHalfPiRest = 6.123233995736766e-17;
  const double quarters = rint(angle * (1 / kHalfPi));
  const auto rest = static_cast<float>(fma(-quarters, kHalfPiRest, fma(-quarters, kHalfPi, angle)));
  const float s = sine(rest), c = cosine(rest);
  switch (static_cast<std::int64_t>(quarters) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    rope_kernel(T* x, const std::int32_t* positions, const __grid_constant__ Frequencies frequencies, double sign,
                std::int64_t stride, std::int64_t heads, std::int64_t half, bool aligned) {
  constexpr int kLanes = kLanesOf<T>;
  __shared__ Turn turns[kMostPairs];
  const double position = sign * positions[blockIdx.x];
  for (std::int64_t d = threadIdx.x; d < half; d += kRowThreads) turns[d] = turn_by(position * frequencies.of[d]);
  __syncthreads();

  T* row = x + blockIdx.x * stride;
  const auto packs = static_cast<std::int32_t>((half + kLanes - 1) / kLanes);
  const auto all = static_cast<std::int32_t>(heads) * packs;
  for (std::int32_t which = static_cast<std::int32_t>(threadIdx.x); which < all; which += kRowThreads) {
    const std::int32_t head = which / packs, d = which % packs * kLanes;
    T* low = row + head * 2 * half + d;
    Pack<kLanes> a = load<kLanes>(low, half - d, aligned), b = load<kLanes>(low + half, half - d, aligned);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      if (d + i >= half) break;
      const Turn turn = turns[d + i];
      const float before = a.lane[i];
      a.lane[i] = fmaf(-b.lane[i], turn.sine, before * turn.cosine);
      b.lane[i] = fmaf(before, turn.sine, b.lane[i] * turn.cosine);
    }
    store(low, a, half - d, aligned);
    store(low + half, b, half - d, aligned);
  }
}

}  // namespace

void rope(Stream stream, Tensor x, Tensor positions, double theta, int sign) {
  const char* op = "rope";
  const Launch launch(stream, op);
  CHECK(x.shape.dims() == 4 && x.size(3) % 2 == 0, op, ": x is ", to_string(x.shape),
        ", should be [R, S, H, D] with D even");
  CHECK(sign == 1 || sign == -1, op, ": sign ", sign);
  check_operand(op, "positions", positions, DType::kI32, {x.size(0)});
  const std::int64_t half = x.size(3) / 2;
  CHECK(half <= kMostPairs, op, ": a head size of ", x.size(3), ", at most ", 2 * kMostPairs, " fit");
  if (x.elements() == 0) return;
  Frequencies frequencies;
  for (std::int64_t d = 0; d < half; ++d)
    frequencies.of[d] = std::pow(theta, -2.0 * static_cast<double>(d) / static_cast<double>(x.size(3)));
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    rope_kernel<<<launch.blocks(x.size(0)), kRowThreads, 0, launch.stream>>>(
        as<T>(x), as<const std::int32_t>(positions), frequencies, static_cast<double>(sign),
        x.size(1) * x.size(2) * x.size(3), x.size(2), half, packs_aligned(kLanesOf<T>, half, {x}));
    launch.done();
  });
}

}  // namespace trireme::cuda
