// What IEEE 754 says of a rounded result, decided without rounding modes: the result to nearest, and on which side of
// it the exact one lies, found in 113-bit arithmetic, which holds every product of two doubles and, with the error of a
// sum beside it, every sum.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace trireme::gpu::reference {

using Quad = __float128;

enum class Towards { kNearest, kZero, kMinusInfinity, kPlusInfinity };

inline int sign_of(Quad x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

// Of a + b - c, exactly: rounding keeps order, so only when the rounded sum is c does what it lost (Knuth) decide.
inline int sign_of_sum_less(Quad a, Quad b, Quad c) {
  const Quad sum = a + b;
  const Quad in_b = sum - a;
  const Quad lost = (a - (sum - in_b)) + (b - in_b);
  const Quad difference = sum - c;
  return difference != 0 ? sign_of(difference) : sign_of(lost);
}

// `side`: the sign of the exact result less `nearest`.
template <class T>
T directed(T nearest, int side, Towards towards) {
  if (side == 0 || std::isnan(nearest) || towards == Towards::kNearest) return nearest;
  const T infinity = std::numeric_limits<T>::infinity();
  const bool negative = std::signbit(nearest);
  if (towards == Towards::kPlusInfinity) return side > 0 ? std::nextafter(nearest, infinity) : nearest;
  if (towards == Towards::kMinusInfinity) return side < 0 ? std::nextafter(nearest, -infinity) : nearest;
  const bool beyond = negative ? side > 0 : side < 0;  // nearest is farther from zero than the exact result
  return beyond ? std::nextafter(nearest, T{0}) : nearest;
}

// The sum of two numbers of opposite sign that is zero is -0 when rounding down, +0 otherwise (IEEE 754, 6.3).
template <class T>
T sum(Quad a, Quad b, T nearest, Towards towards) {
  if (!std::isfinite(static_cast<double>(a)) || !std::isfinite(static_cast<double>(b))) return nearest;
  const int side = sign_of_sum_less(a, b, nearest);
  if (side == 0 && nearest == 0 && towards == Towards::kMinusInfinity && a != 0) return -T{0};
  if (side == 0 && nearest == 0 && towards == Towards::kMinusInfinity) {
    return std::signbit(static_cast<double>(a)) || std::signbit(static_cast<double>(b)) ? -T{0} : T{0};
  }
  return directed(nearest, side, towards);
}

template <class T>
T add(T a, T b, Towards towards) {
  return sum<T>(a, b, a + b, towards);
}
template <class T>
T sub(T a, T b, Towards towards) {
  return sum<T>(a, -b, a - b, towards);
}
template <class T>
T mul(T a, T b, Towards towards) {
  const T nearest = a * b;
  if (!std::isfinite(a) || !std::isfinite(b)) return nearest;
  return directed(nearest, sign_of(Quad{a} * b - nearest), towards);
}

// One rounding of the exact a b + c. `std::fma` is the C library's, not the interpreter's; below it is held to this
// side.
template <class T>
T fma(T a, T b, T c, Towards towards) {
  const T nearest = std::fma(a, b, c);
  if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(c)) return nearest;
  const Quad product = Quad{a} * b;
  const int side = sign_of_sum_less(product, c, nearest);
  if (side == 0 && nearest == 0 && towards == Towards::kMinusInfinity) {
    const bool product_negative = std::signbit(a) != std::signbit(b);
    return product != 0 || product_negative || std::signbit(c) ? -T{0} : T{0};
  }
  return directed(nearest, side, towards);
}

// The sign of a / b - nearest is that of (a - nearest b) b.
template <class T>
T div(T a, T b, Towards towards) {
  const T nearest = a / b;
  if (!std::isfinite(a) || !std::isfinite(b) || b == 0 || a == 0) return nearest;
  const int side = std::isinf(nearest) ? -sign_of(nearest) : sign_of(Quad{a} - Quad{nearest} * b) * sign_of(b);
  return directed(nearest, side, towards);
}
template <class T>
T sqrt(T a, Towards towards) {
  const T nearest = std::sqrt(a);
  if (!std::isfinite(a) || a <= 0) return nearest;
  return directed(nearest, sign_of(Quad{a} - Quad{nearest} * nearest), towards);
}

// PTX ISA, .ftz: subnormal operands and results become zeros of their sign.
inline float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
// .sat: clamped to [0, 1]; NaN becomes +0.
template <class T>
T saturate(T x) {
  if (std::isnan(x) || x <= 0) return T{0};
  return x < 1 ? x : T{1};
}

}  // namespace trireme::gpu::reference
