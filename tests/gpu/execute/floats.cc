#include "tests/gpu/execute/floats.h"

#include <algorithm>

namespace trireme::gpu {

std::uint32_t narrowed(double value, Format format, Rounding rounding) {
  const std::uint32_t sign = std::signbit(value) ? 1u << (format.exponent_bits + format.mantissa_bits) : 0;
  const std::uint32_t infinity = ((1u << format.exponent_bits) - 1) << format.mantissa_bits;
  if (std::isnan(value)) return infinity | ((1u << format.mantissa_bits) - 1);
  const double magnitude = std::fabs(value);
  if (std::isinf(value)) return sign | infinity;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude in [2^(exponent - 1), 2^exponent)
  // In units of the last place: what is below 2^(1 - bias) is subnormal and has that exponent's.
  const int last = std::max(exponent - 1, 1 - bias) - format.mantissa_bits;
  const double units = magnitude == 0 ? 0 : std::ldexp(magnitude, -last);
  double whole = std::floor(units);
  const double rest = units - whole;
  const bool odd = std::fmod(whole, 2) != 0;
  const bool away = rounding == Rounding::kNearest ? rest > 0.5 || (rest == 0.5 && odd)
                    : rounding == Rounding::kUp    ? rest > 0 && sign == 0
                    : rounding == Rounding::kDown  ? rest > 0 && sign != 0
                                                   : false;
  if (away) whole += 1;
  // The exponent's field counts on from the mantissa's: a carry out of it is the next exponent.
  const auto field = static_cast<std::uint64_t>(last + format.mantissa_bits + bias - 1) << format.mantissa_bits;
  const std::uint64_t bits = whole == 0 ? 0 : static_cast<std::uint64_t>(whole) + field;
  if (bits < infinity) return sign | static_cast<std::uint32_t>(bits);
  const bool stays = rounding == Rounding::kZero || (rounding == Rounding::kDown && sign == 0) ||
                     (rounding == Rounding::kUp && sign != 0);
  return sign | (stays ? infinity - 1 : infinity);
}

double widened(std::uint32_t bits, Format format) {
  const std::uint32_t mantissa = bits & ((1u << format.mantissa_bits) - 1);
  const std::uint32_t exponent = bits >> format.mantissa_bits & ((1u << format.exponent_bits) - 1);
  const bool negative = (bits >> (format.exponent_bits + format.mantissa_bits) & 1) != 0;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  double value = 0;
  if (exponent == (1u << format.exponent_bits) - 1) {
    value = mantissa == 0 ? HUGE_VAL : std::nan("");
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  } else {
    value =
        std::ldexp(mantissa + (1u << format.mantissa_bits), static_cast<int>(exponent) - bias - format.mantissa_bits);
  }
  return negative ? -value : value;
}

std::uint16_t to_half(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const std::uint32_t rest = bits & 0x7FFFFFFF;
  if (rest > 0x7F800000) return kNan16;
  if (rest >= 0x477FF000) return sign | 0x7C00;  // 65520 and more
  if (rest < 0x38800000) {                       // subnormal: in units of 2^-24, which adding 1/2 rounds to
    const float shifted = std::bit_cast<float>(rest) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u));
  }
  const std::uint32_t rounded = rest + 0xFFF + (rest >> 13 & 1) - (112u << 23);
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

}  // namespace trireme::gpu
