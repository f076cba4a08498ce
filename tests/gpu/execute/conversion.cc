// cvt: PTX ISA, "Data Movement and Conversion Instructions: cvt". Between integers, extended or cut; to integers
// rounded as said and clamped to the type, NaN to what floats.h says; to narrower floats rounded once; bf16 and f16
// give NaN as 0x7FFF. Operands may lie in registers wider than their type.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

template <class T>
constexpr char letter() {
  return sizeof(T) == 8 ? 'd' : sizeof(T) == 4 ? 'w' : 'h';
}

// The slots hold 32- or 64-bit registers of just that type: the common conversions of addresses and indices.
template <class To, class From>
constexpr auto kWiden = [](From x) { return static_cast<To>(x); };

template <class To, class From>
void integers(Warp& warp, const Instruction& instruction, Mask lanes) {
  if (instruction.bytes[0] == sizeof(To) && instruction.bytes[1] == sizeof(From)) {
    Elementwise<To, From>::template run<kWiden<To, From>>(warp, instruction, lanes);
    return;
  }
  for_each_lane(lanes, [&](int lane) {
    const auto from = static_cast<From>(warp.value(instruction.slots[1], instruction.bytes[1], lane));
    // A wider register gets the sign, or zeros, of the result.
    const auto to = static_cast<To>(from);
    using Wide = std::conditional_t<std::is_signed_v<To>, std::int64_t, U64>;
    warp.store(instruction.slots[0], instruction.bytes[0], lane, static_cast<U64>(static_cast<Wide>(to)));
  });
}

template <class To, class From>
void clamped_integers(Warp& warp, const Instruction& instruction, Mask lanes) {
  for_each_lane(lanes, [&](int lane) {
    const auto from = static_cast<From>(warp.value(instruction.slots[1], instruction.bytes[1], lane));
    const __int128 least = std::numeric_limits<To>::min();
    const __int128 most = std::numeric_limits<To>::max();
    const __int128 value = from;
    const auto to = static_cast<To>(value < least ? least : value > most ? most : value);
    using Wide = std::conditional_t<std::is_signed_v<To>, std::int64_t, U64>;
    warp.store(instruction.slots[0], instruction.bytes[0], lane, static_cast<U64>(static_cast<Wide>(to)));
  });
}

double whole(double x, Rounding rounding) {
  switch (rounding) {
    case Rounding::kZero:
      return std::trunc(x);
    case Rounding::kDown:
      return std::floor(x);
    case Rounding::kUp:
      return std::ceil(x);
    case Rounding::kNearest:
      break;
  }
  const double floor = std::floor(x);
  const double rest = x - floor;
  const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(floor, 2) != 0);
  return std::copysign(up ? floor + 1 : floor, x);
}

template <class To, class From, Rounding kRounding, bool kFlush>
constexpr auto kToInteger = [](From x) {
  if constexpr (kFlush && std::is_same_v<From, float>) x = flushed(x);
  if (x != x) return of_nan<To>(std::is_same_v<From, double>);
  const double value = whole(x, kRounding);
  if (value <= static_cast<double>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (value >= static_cast<double>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(value);
};

template <Rounding kRounding>
float single_from(__int128 value) {
  const bool negative = value < 0;
  auto magnitude = static_cast<unsigned __int128>(negative ? -value : value);
  int shift = 0;
  while (magnitude >> shift >= (1u << 24)) ++shift;
  const auto kept = static_cast<U64>(magnitude >> shift);
  const auto rest = static_cast<U64>(magnitude - (static_cast<unsigned __int128>(kept) << shift));
  const U64 half = shift == 0 ? 0 : U64{1} << (shift - 1);
  bool up = false;
  if (kRounding == Rounding::kNearest) up = shift > 0 && (rest > half || (rest == half && (kept & 1) != 0));
  if (kRounding == Rounding::kUp) up = rest != 0 && !negative;
  if (kRounding == Rounding::kDown) up = rest != 0 && negative;
  const float result = std::ldexp(static_cast<float>(kept + (up ? 1 : 0)), shift);
  return negative ? -result : result;
}

template <class From, Rounding kRounding>
constexpr auto kSingleFromInteger = [](From x) {
  if constexpr (kRounding == Rounding::kNearest) {
    return static_cast<float>(x);  // IEEE conversion, to nearest
  } else {
    return single_from<kRounding>(x);
  }
};
template <class From>
constexpr auto kDoubleFromInteger = [](From x) { return static_cast<double>(x); };

template <class From>
void from_narrow_integer(Warp& warp, const Instruction& instruction, Mask lanes) {
  for_each_lane(lanes, [&](int lane) {
    const auto from = static_cast<From>(warp.value(instruction.slots[1], instruction.bytes[1], lane));
    const U64 bits = instruction.bytes[0] == 8 ? std::bit_cast<U64>(static_cast<double>(from))
                                               : U64{std::bit_cast<U32>(static_cast<float>(from))};
    warp.store(instruction.slots[0], instruction.bytes[0], lane, bits);
  });
}

template <Rounding kRounding>
float single_from_double(double x) {
  const auto nearest = static_cast<float>(x);
  if (kRounding == Rounding::kNearest || x != x || static_cast<double>(nearest) == x) return canonical(nearest);
  const bool above = static_cast<double>(nearest) > x;
  if (kRounding == Rounding::kUp) return above ? nearest : std::nextafter(nearest, INFINITY);
  if (kRounding == Rounding::kDown) return above ? std::nextafter(nearest, -INFINITY) : nearest;
  return above == (x > 0) ? std::nextafter(nearest, 0.0f) : nearest;
}

template <Rounding kRounding>
constexpr auto kNarrow = [](double x) { return single_from_double<kRounding>(x); };
template <Rounding kRounding>
constexpr auto kNarrowFtz = [](double x) { return flushed(single_from_double<kRounding>(x)); };
constexpr auto kWidenSingle = [](float x) { return static_cast<double>(x); };
constexpr auto kWidenSingleFtz = [](float x) { return static_cast<double>(flushed(x)); };

template <class T, Rounding kRounding>
constexpr auto kWhole = [](T x) { return canonical(static_cast<T>(whole(x, kRounding))); };
template <Rounding kRounding>
constexpr auto kWholeFtz = [](float x) { return canonical(static_cast<float>(whole(flushed(x), kRounding))); };
template <Rounding kRounding>
constexpr auto kWholeHalf =
    [](U16 x) { return static_cast<U16>(narrowed(whole(from_half(x), kRounding), kHalf, kRounding)); };

constexpr auto kSaturate = [](float x) { return saturated(x); };
constexpr auto kSaturateFtz = [](float x) { return saturated(flushed(x)); };

template <class To, class From>
void add_integer_pair(ModelTable& table, const std::string& to, const std::string& from) {
  table.add("cvt." + to + "." + from, {integers<To, From>, "xx"});
  table.add("cvt.sat." + to + "." + from, {clamped_integers<To, From>, "xx"});
}

template <class To>
void add_integers_to(ModelTable& table, const std::string& to) {
  add_integer_pair<To, std::int8_t>(table, to, "s8");
  add_integer_pair<To, std::uint8_t>(table, to, "u8");
  add_integer_pair<To, std::int16_t>(table, to, "s16");
  add_integer_pair<To, U16>(table, to, "u16");
  add_integer_pair<To, std::int32_t>(table, to, "s32");
  add_integer_pair<To, U32>(table, to, "u32");
  add_integer_pair<To, std::int64_t>(table, to, "s64");
  add_integer_pair<To, U64>(table, to, "u64");
}

template <class Integer, Rounding kRounding>
void add_integer_float(ModelTable& table, const std::string& mode, const std::string& integer) {
  const std::string l(1, letter<Integer>());
  table.add("cvt.r" + mode + "i." + integer + ".f32",
            {Elementwise<Integer, float>::template run<kToInteger<Integer, float, kRounding, false>>, l + "w"});
  table.add("cvt.r" + mode + "i.ftz." + integer + ".f32",
            {Elementwise<Integer, float>::template run<kToInteger<Integer, float, kRounding, true>>, l + "w"});
  table.add("cvt.r" + mode + "i." + integer + ".f64",
            {Elementwise<Integer, double>::template run<kToInteger<Integer, double, kRounding, false>>, l + "d"});
  table.add("cvt.r" + mode + ".f32." + integer,
            {Elementwise<float, Integer>::template run<kSingleFromInteger<Integer, kRounding>>, "w" + l});
}

template <Rounding kRounding>
void add_mode(ModelTable& table, const std::string& mode) {
  add_integer_float<std::int16_t, kRounding>(table, mode, "s16");
  add_integer_float<U16, kRounding>(table, mode, "u16");
  add_integer_float<std::int32_t, kRounding>(table, mode, "s32");
  add_integer_float<U32, kRounding>(table, mode, "u32");
  add_integer_float<std::int64_t, kRounding>(table, mode, "s64");
  add_integer_float<U64, kRounding>(table, mode, "u64");
  table.add("cvt.r" + mode + ".f32.f64", {Elementwise<float, double>::run<kNarrow<kRounding>>, "wd"});
  table.add("cvt.r" + mode + ".ftz.f32.f64", {Elementwise<float, double>::run<kNarrowFtz<kRounding>>, "wd"});
  table.add("cvt.r" + mode + "i.f32.f32", {Elementwise<float, float>::run<kWhole<float, kRounding>>, "ww"});
  table.add("cvt.r" + mode + "i.ftz.f32.f32", {Elementwise<float, float>::run<kWholeFtz<kRounding>>, "ww"});
  table.add("cvt.r" + mode + "i.f64.f64", {Elementwise<double, double>::run<kWhole<double, kRounding>>, "dd"});
  table.add("cvt.r" + mode + "i.f16.f16", {Elementwise<U16, U16>::run<kWholeHalf<kRounding>>, "hh"});
}

}  // namespace

void add_conversion_models(ModelTable& table) {
  add_integers_to<std::int8_t>(table, "s8");
  add_integers_to<std::uint8_t>(table, "u8");
  add_integers_to<std::int16_t>(table, "s16");
  add_integers_to<U16>(table, "u16");
  add_integers_to<std::int32_t>(table, "s32");
  add_integers_to<U32>(table, "u32");
  add_integers_to<std::int64_t>(table, "s64");
  add_integers_to<U64>(table, "u64");
  add_mode<Rounding::kNearest>(table, "n");
  add_mode<Rounding::kZero>(table, "z");
  add_mode<Rounding::kDown>(table, "m");
  add_mode<Rounding::kUp>(table, "p");
  for (const char* to : {"cvt.rn.f32.", "cvt.rn.f64."}) {
    table.add(std::string(to) + "s8", {from_narrow_integer<std::int8_t>, "xx"});
    table.add(std::string(to) + "u8", {from_narrow_integer<std::uint8_t>, "xx"});
  }
  table.add("cvt.rn.f64.s16", {Elementwise<double, std::int16_t>::run<kDoubleFromInteger<std::int16_t>>, "dh"});
  table.add("cvt.rn.f64.u16", {Elementwise<double, U16>::run<kDoubleFromInteger<U16>>, "dh"});
  table.add("cvt.rn.f64.s32", {Elementwise<double, std::int32_t>::run<kDoubleFromInteger<std::int32_t>>, "dw"});
  table.add("cvt.rn.f64.u32", {Elementwise<double, U32>::run<kDoubleFromInteger<U32>>, "dw"});
  table.add("cvt.rn.f64.s64", {Elementwise<double, std::int64_t>::run<kDoubleFromInteger<std::int64_t>>, "dd"});
  table.add("cvt.rn.f64.u64", {Elementwise<double, U64>::run<kDoubleFromInteger<U64>>, "dd"});
  table.add("cvt.f64.f32", {Elementwise<double, float>::run<kWidenSingle>, "dw"});
  table.add("cvt.ftz.f64.f32", {Elementwise<double, float>::run<kWidenSingleFtz>, "dw"});
  table.add("cvt.sat.f32.f32", {Elementwise<float, float>::run<kSaturate>, "ww"});
  table.add("cvt.ftz.sat.f32.f32", {Elementwise<float, float>::run<kSaturateFtz>, "ww"});
  add_narrow_conversion_models(table);
}

}  // namespace trireme::gpu
