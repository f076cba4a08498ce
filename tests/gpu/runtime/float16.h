// The two 16-bit formats to and from fp32, rounding to nearest, ties to even; subnormals and infinities as IEEE has
// them, NaN stays NaN. Bits in, bits out, without any library of CUDA's or the project's: what is checked against must
// not be what is checked.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace trireme::gpu {

inline float from_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

inline std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline float from_float16(std::uint16_t bits) {
  const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  if (exponent == 31) return fraction != 0 ? std::nanf("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

inline std::uint16_t to_float16(float value) {
  const auto sign = static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) >> 16) & 0x8000U);
  if (std::isnan(value)) return sign | 0x7e00U;
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0F) return sign | 0x7c00U;  // halfway between the largest and infinity, which is even
  if (magnitude < 0x1p-14F)                          // subnormal: a multiple of 2^-24
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F)));
  const int exponent = std::ilogb(magnitude);
  const float scaled = std::nearbyint(std::ldexp(magnitude, 10 - exponent));  // 1024 to 2048
  const unsigned bits = (static_cast<unsigned>(exponent + 14) << 10) + static_cast<unsigned>(scaled);
  return static_cast<std::uint16_t>(sign | bits);
}

}  // namespace trireme::gpu
