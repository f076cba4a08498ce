// PTX ISA 9.0, 9.7.4 "Half Precision Floating Point Instructions": f16 and bf16, alone and in pairs. Sums and products
// are exact in 113 bits with what the sum lost beside it, and rounded once by looking at the neighbours. A NaN is
// 0x7FFF.
#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/narrow_reference.h"

namespace trireme::gpu {
namespace {

using reference::kBrain;
using reference::kHalf;
using reference::NarrowFormat;
using reference::Quad;

using U16 = std::uint16_t;
using U32 = std::uint32_t;

bool is_nan(const NarrowFormat& format, U16 x) { return (x & 0x7FFF) > format.infinity(); }
U16 flushed(U16 x) { return (x & 0x7C00) == 0 ? static_cast<U16>(x & 0x8000) : x; }

// a b + c; a is 1 for a sum.
U16 fused(const NarrowFormat& format, double a, double b, double c) {
  const double plain = a * b + c;  // its class and, when nothing is left, its sign
  if (!std::isfinite(plain)) return format.rounded(plain);
  const Quad product = Quad{a} * b;
  const Quad sum = product + Quad{c};
  const Quad in_c = sum - product;
  const Quad lost = (product - (sum - in_c)) + (Quad{c} - in_c);
  return format.rounded(sum, lost, std::signbit(plain));
}

// Results that the ISA leaves open: .relu of -0, and with .ftz a sum rounded up to the least normal number.
struct UpToZerosSign {
  bool operator()(U16 expected, U16 actual) const {
    return expected == actual || ((expected & 0x7FFF) == 0 && (actual & 0x7FFF) == 0);
  }
  bool operator()(U32 expected, U32 actual) const {
    return (*this)(static_cast<U16>(expected), static_cast<U16>(actual)) &&
           (*this)(static_cast<U16>(expected >> 16), static_cast<U16>(actual >> 16));
  }
};
struct UpToFlushing {
  bool operator()(U16 expected, U16 actual) const {
    return expected == actual || ((expected & 0x7FFF) == 0x0400 && actual == (expected & 0x8000));
  }
  bool operator()(U32 expected, U32 actual) const {
    return (*this)(static_cast<U16>(expected), static_cast<U16>(actual)) &&
           (*this)(static_cast<U16>(expected >> 16), static_cast<U16>(actual >> 16));
  }
};

// One at a time and in pairs, the lower half being the first.
template <class... A, class Reference, class Same = Exactly>
void expect_one_and_two(const std::string& name, const Reference& f, const Same& same = {}) {
  LaneByLane<U16(A...)>(name, f).holds(same);
  using Pair = std::conditional_t<true, U32, std::tuple<A...>>;
  const auto pairs = [f](auto... x) -> U32 {
    return U32{f(static_cast<U16>(x)...)} | U32{f(static_cast<U16>(x >> 16)...)} << 16;
  };
  if constexpr (sizeof...(A) == 1) LaneByLane<Pair(Pair)>(name + "x2", pairs).holds(same);
  if constexpr (sizeof...(A) == 2) LaneByLane<Pair(Pair, Pair)>(name + "x2", pairs).holds(same);
  if constexpr (sizeof...(A) == 3) LaneByLane<Pair(Pair, Pair, Pair)>(name + "x2", pairs).holds(same);
}

template <class... A, class Reference>
void expect_half_with_ftz(const std::string& name, const Reference& f) {
  expect_one_and_two<A...>(name + ".f16", f);
  expect_one_and_two<A...>(
      name + ".ftz.f16", [f](auto... x) { return flushed(f(flushed(x)...)); }, UpToFlushing());
}

const auto kHalfValue = [](U16 x) { return kHalf.value(x); };

TEST(HalfModel, RoundsSumsAndProductsOnce) {
  for (const std::string rounding : {"", ".rn"}) {
    expect_half_with_ftz<U16, U16>("add" + rounding,
                                   [](U16 a, U16 b) { return fused(kHalf, 1, kHalfValue(a), kHalfValue(b)); });
    expect_half_with_ftz<U16, U16>("sub" + rounding,
                                   [](U16 a, U16 b) { return fused(kHalf, -1, kHalfValue(b), kHalfValue(a)); });
    expect_half_with_ftz<U16, U16>("mul" + rounding,
                                   [](U16 a, U16 b) { return kHalf.rounded(kHalfValue(a) * kHalfValue(b)); });
  }
}

template <class Format>
auto fma_of(const Format& format) {
  return [&format](U16 a, U16 b, U16 c) { return fused(format, format.value(a), format.value(b), format.value(c)); };
}
// .relu: a negative result becomes 0; NaN stays.
template <class Function>
auto relu(const Function& f) {
  return [f](auto... x) {
    const U16 result = f(x...);
    return result >= 0x8000 ? U16{0} : result;
  };
}

TEST(HalfModel, FusesProductsAndSums) {
  expect_half_with_ftz<U16, U16, U16>("fma.rn", fma_of(kHalf));
  expect_one_and_two<U16, U16, U16>("fma.rn.bf16", fma_of(kBrain));
  expect_one_and_two<U16, U16, U16>("fma.rn.relu.f16", relu(fma_of(kHalf)), UpToZerosSign());
  expect_one_and_two<U16, U16, U16>("fma.rn.relu.bf16", relu(fma_of(kBrain)), UpToZerosSign());
  // .ftz.relu, in the ISA's order of modifiers.
  const auto flushing = [](U16 a, U16 b, U16 c) {
    return flushed(relu(fma_of(kHalf))(flushed(a), flushed(b), flushed(c)));
  };
  expect_one_and_two<U16, U16, U16>("fma.rn.ftz.relu.f16", flushing, UpToZerosSign());
}

// 9.7.4.8 min, max: of a NaN and a number the number, -0 < +0; with .NaN any NaN wins.
TEST(HalfModel, TakesTheLesserAndTheGreater) {
  const auto choose = [](const NarrowFormat& format, bool greater, bool nan_wins) {
    return [&format, greater, nan_wins](U16 a, U16 b) -> U16 {
      const bool a_nan = is_nan(format, a);
      const bool b_nan = is_nan(format, b);
      if ((a_nan && b_nan) || (nan_wins && (a_nan || b_nan))) return 0x7FFF;
      if (a_nan || b_nan) return a_nan ? b : a;
      // Sign and magnitude as an integer: -0 comes just below +0.
      const auto key = [](U16 x) { return x < 0x8000 ? int{x} : -1 - (x & 0x7FFF); };
      return (key(a) < key(b)) == greater ? b : a;
    };
  };
  for (const bool greater : {false, true}) {
    const std::string name = greater ? "max" : "min";
    expect_half_with_ftz<U16, U16>(name, choose(kHalf, greater, false));
    expect_one_and_two<U16, U16>(name + ".NaN.f16", choose(kHalf, greater, true));
    const auto flushing = [&](U16 a, U16 b) { return flushed(choose(kHalf, greater, true)(flushed(a), flushed(b))); };
    expect_one_and_two<U16, U16>(name + ".ftz.NaN.f16", flushing);
    expect_one_and_two<U16, U16>(name + ".bf16", choose(kBrain, greater, false));
    expect_one_and_two<U16, U16>(name + ".NaN.bf16", choose(kBrain, greater, true));
  }
}

// NaN may change its payload.
struct SignOrNan {
  const NarrowFormat& format;
  bool operator()(U16 expected, U16 actual) const {
    return expected == actual || (is_nan(format, expected) && is_nan(format, actual));
  }
  bool operator()(U32 expected, U32 actual) const {
    return (*this)(static_cast<U16>(expected), static_cast<U16>(actual)) &&
           (*this)(static_cast<U16>(expected >> 16), static_cast<U16>(actual >> 16));
  }
};

TEST(HalfModel, ChangesSigns) {
  for (const auto& [type, format] : {std::pair<std::string, const NarrowFormat&>{".f16", kHalf}, {".bf16", kBrain}}) {
    expect_one_and_two<U16>(
        "neg" + type, [](U16 a) { return static_cast<U16>(a ^ 0x8000); }, SignOrNan{format});
    expect_one_and_two<U16>(
        "abs" + type, [](U16 a) { return static_cast<U16>(a & 0x7FFF); }, SignOrNan{format});
  }
}

}  // namespace
}  // namespace trireme::gpu
