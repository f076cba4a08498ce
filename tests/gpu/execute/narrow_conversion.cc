// cvt to and from f16, bf16 and tf32, one value or two: the first source becomes the upper half.
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

constexpr auto kRelu = [](float x) { return x < 0 || (x == 0 && std::signbit(x)) ? 0.0f : x; };

constexpr auto kHalfNearest = [](float x) { return to_half(x); };
constexpr auto kBrainNearest = [](float x) { return to_brain(x); };
constexpr auto kHalfZero = [](float x) { return static_cast<U16>(narrowed(x, kHalf, Rounding::kZero)); };
constexpr auto kBrainZero = [](float x) { return static_cast<U16>(narrowed(x, kBrain, Rounding::kZero)); };

template <auto kOne>
constexpr auto kTwo = [](float high, float low) { return U32{kOne(high)} << 16 | kOne(low); };
template <auto kOne>
constexpr auto kOneRelu = [](float x) { return kOne(kRelu(x)); };
template <auto kOne>
constexpr auto kTwoRelu = [](float high, float low) { return U32{kOne(kRelu(high))} << 16 | kOne(kRelu(low)); };
template <auto kOne>
constexpr auto kOneFtz = [](float x) { return kOne(flushed(x)); };

template <auto kOne>
void add_to(ModelTable& table, const std::string& mode, const std::string& type) {
  table.add("cvt." + mode + "." + type + ".f32", {Elementwise<U16, float>::run<kOne>, "hw"});
  table.add("cvt." + mode + ".relu." + type + ".f32", {Elementwise<U16, float>::run<kOneRelu<kOne>>, "hw"});
  table.add("cvt." + mode + "." + type + "x2.f32", {Elementwise<U32, float, float>::run<kTwo<kOne>>, "www"});
  table.add("cvt." + mode + ".relu." + type + "x2.f32", {Elementwise<U32, float, float>::run<kTwoRelu<kOne>>, "www"});
}

constexpr auto kFromHalf = [](U16 x) { return canonical(from_half(x)); };
constexpr auto kFromBrain = [](U16 x) { return from_brain(x); };
constexpr auto kFromHalfFtz = [](U16 x) { return canonical(flushed(from_half(x))); };
constexpr auto kDoubleFromHalf = [](U16 x) { return static_cast<double>(from_half(x)); };
constexpr auto kHalfFromDouble = [](double x) { return static_cast<U16>(narrowed(x, kHalf, Rounding::kNearest)); };

template <class Integer>
constexpr auto kHalfFromInteger = [](Integer x) {
  return static_cast<U16>(narrowed(static_cast<double>(x), kHalf, Rounding::kNearest));  // 65520 and more: infinity
};
template <class Integer>
constexpr auto kIntegerFromHalf = [](U16 x) {
  const float value = std::trunc(from_half(x));
  if (value != value) return of_nan<Integer>(false);
  constexpr auto least = std::numeric_limits<Integer>::min();
  constexpr auto most = std::numeric_limits<Integer>::max();
  if (value <= static_cast<float>(least)) return least;
  return value >= static_cast<float>(most) ? most : static_cast<Integer>(value);
};

template <class Integer>
void add_integer(ModelTable& table, const std::string& type) {
  const std::string l = sizeof(Integer) == 2 ? "h" : sizeof(Integer) == 4 ? "w" : "d";
  table.add("cvt.rn.f16." + type, {Elementwise<U16, Integer>::template run<kHalfFromInteger<Integer>>, "h" + l});
  table.add("cvt.rzi." + type + ".f16", {Elementwise<Integer, U16>::template run<kIntegerFromHalf<Integer>>, l + "h"});
}

// 19 bits are kept, in the upper ones of 32; ties away from zero.
constexpr auto kTensorFloatAway = [](float x) {
  const auto bits = std::bit_cast<U32>(x);
  if (x != x) return kNan32;
  return std::isinf(x) ? bits : (bits + 0x1000) & 0xFFFFE000;
};

}  // namespace

void add_narrow_conversion_models(ModelTable& table) {
  add_to<kHalfNearest>(table, "rn", "f16");
  add_to<kBrainNearest>(table, "rn", "bf16");
  add_to<kHalfZero>(table, "rz", "f16");
  add_to<kBrainZero>(table, "rz", "bf16");
  table.add("cvt.rn.ftz.f16.f32", {Elementwise<U16, float>::run<kOneFtz<kHalfNearest>>, "hw"});
  table.add("cvt.f32.f16", {Elementwise<float, U16>::run<kFromHalf>, "wh"});
  table.add("cvt.ftz.f32.f16", {Elementwise<float, U16>::run<kFromHalfFtz>, "wh"});
  table.add("cvt.f32.bf16", {Elementwise<float, U16>::run<kFromBrain>, "wh"});
  table.add("cvt.f64.f16", {Elementwise<double, U16>::run<kDoubleFromHalf>, "dh"});
  table.add("cvt.rn.f16.f64", {Elementwise<U16, double>::run<kHalfFromDouble>, "hd"});
  add_integer<std::int16_t>(table, "s16");
  add_integer<std::int32_t>(table, "s32");
  add_integer<std::int64_t>(table, "s64");
  add_integer<U16>(table, "u16");
  add_integer<U32>(table, "u32");
  table.add("cvt.rna.tf32.f32", {Elementwise<U32, float>::run<kTensorFloatAway>, "ww"});
}

}  // namespace trireme::gpu
