// What several families need of floating point: flushing, canonical NaN, saturation, and rounding a double once to a
// narrow format.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace trireme::gpu {

inline constexpr std::uint32_t kNan32 = 0x7FFFFFFF;  // what instructions on f32 give for every NaN
inline constexpr std::uint16_t kNan16 = 0x7FFF;      // f16 and bf16 alike

inline float canonical(float x) { return x == x ? x : std::bit_cast<float>(kNan32); }
inline double canonical(double x) { return x; }

// .ftz: subnormals become zeros of their sign.
inline float flushed(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return (bits & 0x7F800000u) == 0 ? std::bit_cast<float>(bits & 0x80000000u) : x;
}

// .sat: to [0, 1], NaN to +0.
template <class T>
T saturated(T x) {
  return x >= T{1} ? T{1} : x > T{0} ? x : T{0};
}

// a + b rounded to odd: its last bit says whether anything was lost, so that a second rounding to half as many digits
// is as good as one (Boldo and Melquiond, 2008).
inline double add_to_odd(double a, double b) {
  const double sum = a + b;
  const double in_b = sum - a;
  const double lost = (a - (sum - in_b)) + (b - in_b);
  if (lost == 0 || !std::isfinite(sum)) return sum;
  auto bits = std::bit_cast<std::int64_t>(sum);
  if ((bits & 1) == 0) bits += (lost > 0) == (sum > 0) ? 1 : -1;
  return std::bit_cast<double>(bits);
}

// The integer that cvt makes of a NaN (PTX ISA, cvt, "Integer Notes"): 0, or the highest bit if f64 or 64 bits take
// part.
template <class Integer>
constexpr Integer of_nan(bool from_double) {
  if (!from_double && sizeof(Integer) < 8) return 0;
  return static_cast<Integer>(std::uint64_t{1} << (8 * sizeof(Integer) - 1));
}

enum class Rounding : std::uint8_t { kNearest, kZero, kDown, kUp };

struct Format {
  int exponent_bits = 5;
  int mantissa_bits = 10;
};
inline constexpr Format kHalf{.exponent_bits = 5, .mantissa_bits = 10};
inline constexpr Format kBrain{.exponent_bits = 8, .mantissa_bits = 7};
inline constexpr Format kTensorFloat{.exponent_bits = 8, .mantissa_bits = 10};

std::uint32_t narrowed(double value, Format format, Rounding rounding);  // NaN: all ones but the sign
double widened(std::uint32_t bits, Format format);

// To nearest, ties to even; the hot one.
inline std::uint16_t to_brain(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return static_cast<std::uint16_t>(x == x ? rounded : kNan16);
}
inline float from_brain(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
inline float from_half(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t rest = bits & 0x7FFFu;
  if (rest >= 0x7C00) return std::bit_cast<float>(sign | 0x7F800000u | (rest & 0x3FF) << 13);
  // As a float with the same fields it is 2^112 times too small, subnormals included.
  return std::bit_cast<float>(sign | rest << 13) * 0x1p112f;
}
std::uint16_t to_half(float x);  // to nearest, ties to even

}  // namespace trireme::gpu
