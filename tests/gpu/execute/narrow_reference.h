// 16-bit floats as the numbers that they are: a format's values, and the value of a format that a number rounds to,
// found by looking at the two neighbours. Slow and plain.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/gpu/execute/floating_reference.h"

namespace trireme::gpu::reference {

// Exact: every value of these formats, and every product of two, is a double.
struct NarrowFormat {
  int exponent_bits;
  int fraction_bits;

  std::uint16_t infinity() const { return static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << fraction_bits); }

  double value(std::uint16_t bits) const {
    const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    const int fraction = bits & ((1 << fraction_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    double magnitude = 0;
    if (exponent == (1 << exponent_bits) - 1) {
      magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    } else {
      const double significand = fraction + (exponent == 0 ? 0 : 1 << fraction_bits);
      magnitude = std::ldexp(significand, std::max(exponent, 1) - bias - fraction_bits);
    }
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
  }

  // Of x + rest, where |rest| is less than half of x's last place, or x is 0. Magnitudes are ordered as their bits are,
  // so the neighbours are found by bisection. NaN is 0x7FFF; beyond the greatest by half a place or more: infinity.
  std::uint16_t rounded(Quad x, Quad rest, bool negative_zero, Towards towards = Towards::kNearest) const {
    if (x != x) return 0x7FFF;
    const bool negative = x < 0 || (x == 0 && (rest < 0 || (rest == 0 && negative_zero)));
    const auto sign = static_cast<std::uint16_t>(negative ? 0x8000 : 0);
    const Quad magnitude = negative ? -x : x;
    const Quad beyond = negative ? -rest : rest;
    const auto below_or_at = [&](Quad candidate) { return sign_of_sum_less(magnitude, beyond, candidate) >= 0; };
    if (std::isinf(static_cast<double>(magnitude))) return sign | infinity();
    std::uint16_t low = 0;
    std::uint16_t high = infinity();
    while (high - low > 1) {
      const auto middle = static_cast<std::uint16_t>((low + high) / 2);
      (below_or_at(value(middle)) ? low : high) = middle;
    }
    // Infinity stands where the next number would be.
    const Quad step = Quad{value(low)} - value(static_cast<std::uint16_t>(low - 1));
    const Quad above = high == infinity() ? Quad{value(low)} + step : Quad{value(high)};
    const Quad half_way = (Quad{value(low)} + above) / 2;
    const int at_half = sign_of_sum_less(magnitude, beyond, half_way);
    const bool exact = sign_of_sum_less(magnitude, beyond, value(low)) == 0;
    bool up = at_half > 0 || (at_half == 0 && low % 2 == 1);
    if (towards == Towards::kZero) up = false;
    if (towards == Towards::kPlusInfinity) up = !exact && !negative;
    if (towards == Towards::kMinusInfinity) up = !exact && negative;
    return sign | (up ? high : low);
  }
  std::uint16_t rounded(double x, Towards towards = Towards::kNearest) const {
    return rounded(Quad{x}, Quad{0}, std::signbit(x), towards);
  }
};

inline constexpr NarrowFormat kHalf{.exponent_bits = 5, .fraction_bits = 10};
inline constexpr NarrowFormat kBrain{.exponent_bits = 8, .fraction_bits = 7};

}  // namespace trireme::gpu::reference
