// PTX ISA 9.0, 9.7.1 "Integer Arithmetic Instructions" and 9.7.2 "Extended-Precision Integer Arithmetic Instructions",
// written down in 128-bit integers, where nothing overflows.
#include <limits>
#include <type_traits>

#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"

namespace trireme::gpu {
namespace {

using Wide = __int128;

// The low bits, which is what registers keep.
template <class T>
T low(Wide value) {
  return static_cast<T>(static_cast<std::uint64_t>(static_cast<unsigned __int128>(value)));
}
template <class T>
T high(Wide value) {
  return static_cast<T>(static_cast<std::uint64_t>(static_cast<unsigned __int128>(value) >> (8 * sizeof(T))));
}
// 64-bit unsigned products need all 128 bits; as a sum of bits they are the same.
template <class T>
Wide product(T a, T b) {
  return static_cast<Wide>(static_cast<unsigned __int128>(Wide{a}) * static_cast<unsigned __int128>(Wide{b}));
}

template <class T>
struct Name;
template <>
struct Name<std::int16_t> {
  static constexpr const char* text = ".s16";
  using Twice = std::int32_t;
};
template <>
struct Name<std::uint16_t> {
  static constexpr const char* text = ".u16";
  using Twice = std::uint32_t;
};
template <>
struct Name<std::int32_t> {
  static constexpr const char* text = ".s32";
  using Twice = std::int64_t;
};
template <>
struct Name<std::uint32_t> {
  static constexpr const char* text = ".u32";
  using Twice = std::uint64_t;
};
template <>
struct Name<std::int64_t> {
  static constexpr const char* text = ".s64";
};
template <>
struct Name<std::uint64_t> {
  static constexpr const char* text = ".u64";
};

template <class T>
class IntegerModel : public testing::Test {
 protected:
  std::string named(const std::string& opcode) const { return opcode + Name<T>::text; }
};
using Types = testing::Types<std::int16_t, std::uint16_t, std::int32_t, std::uint32_t, std::int64_t, std::uint64_t>;
TYPED_TEST_SUITE(IntegerModel, Types);

TYPED_TEST(IntegerModel, AddsSubtractsAndMultipliesModuloTheWidth) {
  using T = TypeParam;
  using Two = LaneByLane<T(T, T)>;
  using Three = LaneByLane<T(T, T, T)>;
  Two(this->named("add"), [](T a, T b) { return low<T>(Wide{a} + b); }).holds();
  Two(this->named("sub"), [](T a, T b) { return low<T>(Wide{a} - b); }).holds();
  Two(this->named("mul.lo"), [](T a, T b) { return low<T>(product(a, b)); }).holds();
  Two(this->named("mul.hi"), [](T a, T b) { return high<T>(product(a, b)); }).holds();
  Three(this->named("mad.lo"), [](T a, T b, T c) { return low<T>(product(a, b) + c); }).holds();
  Three(this->named("mad.hi"), [](T a, T b, T c) { return low<T>(Wide{high<T>(product(a, b))} + c); }).holds();
  Three(this->named("sad"), [](T a, T b, T c) {
    return low<T>(Wide{c} + (a < b ? Wide{b} - a : Wide{a} - b));
  }).holds();
}

// "Division by zero yields an unspecified, machine-specific value"; the least number by -1 does not fit either.
TYPED_TEST(IntegerModel, DividesTowardsZero) {
  using T = TypeParam;
  using Two = LaneByLane<T(T, T)>;
  const auto undefined = [](T a, T b) {
    return b == 0 || (std::is_signed_v<T> && a == std::numeric_limits<T>::min() && Wide{b} == -1);
  };
  Two(this->named("div"), [](T a, T b) { return low<T>(Wide{a} / Wide{b}); }).unless(undefined).holds();
  // The remainder has the sign of the dividend: a = b (a / b) + a % b.
  Two(this->named("rem"), [](T a, T b) { return low<T>(Wide{a} - Wide{b} * (Wide{a} / Wide{b})); })
      .unless(undefined)
      .holds();
}

TYPED_TEST(IntegerModel, TakesTheLesserAndTheGreater) {
  using T = TypeParam;
  using Two = LaneByLane<T(T, T)>;
  Two(this->named("min"), [](T a, T b) { return b < a ? b : a; }).holds();
  Two(this->named("max"), [](T a, T b) { return b > a ? b : a; }).holds();
}

TYPED_TEST(IntegerModel, NegatesAndDropsTheSignOfSignedNumbersOnly) {
  using T = TypeParam;
  if constexpr (std::is_signed_v<T>) {
    using One = LaneByLane<T(T)>;
    One(this->named("neg"), [](T a) { return low<T>(-Wide{a}); }).holds();
    One(this->named("abs"), [](T a) { return low<T>(a < 0 ? -Wide{a} : Wide{a}); }).holds();
  }
}

TYPED_TEST(IntegerModel, MultipliesIntoRegistersTwiceAsWide) {
  using T = TypeParam;
  if constexpr (sizeof(T) < 8) {
    using Twice = typename Name<T>::Twice;
    LaneByLane<Twice(T, T)>(this->named("mul.wide"), [](T a, T b) { return static_cast<Twice>(Wide{a} * b); }).holds();
    LaneByLane<Twice(T, T, Twice)>(this->named("mad.wide"), [](T a, T b, Twice c) {
      return low<Twice>(Wide{a} * b + c);
    }).holds();
  }
}

std::int32_t clamped(Wide value) {
  const Wide least = std::numeric_limits<std::int32_t>::min();
  const Wide most = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(value < least ? least : value > most ? most : value);
}

TEST(SaturatedIntegerModel, StaysAtTheEndsOfSignedNumbers) {
  using S = std::int32_t;
  LaneByLane<S(S, S)>("add.sat.s32", [](S a, S b) { return clamped(Wide{a} + b); }).holds();
  LaneByLane<S(S, S)>("sub.sat.s32", [](S a, S b) { return clamped(Wide{a} - b); }).holds();
}

template <class T>
using DoubleWord = std::conditional_t<sizeof(T) == 4, std::uint64_t, unsigned __int128>;

// A sum of two words with a carry between them: the first instruction leaves it, the second takes it.
template <class T>
class CarryModel : public testing::Test {
 protected:
  using Double = DoubleWord<T>;
  static constexpr int kBits = 8 * sizeof(T);
  static Double joined(std::uint64_t upper, std::uint64_t lower) {
    return static_cast<Double>(static_cast<Double>(upper) << kBits) | static_cast<T>(lower);
  }

  // Operands: low and high word of a, of b and of c.
  template <class Reference>
  void expect(const std::string& text, const Reference& reference) const {
    const char letter = sizeof(T) == 4 ? 'w' : 'd';
    const OneInstruction instruction{
        .text = text, .results = std::string(2, letter), .operands = std::string(6, letter)};
    for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
      std::vector<Thread> threads;
      for (auto& row : elementwise::operand_rows(std::vector<std::size_t>(6, sizeof(T)), text.size())) {
        threads.push_back({.takes_part = threads.size() % 3 != 1, .kept = {7, 8}, .operands = std::move(row)});
      }
      const Outcome outcome = run_one(instruction, threads, guard);
      for (std::size_t i = 0; i < threads.size(); ++i) {
        const auto& o = threads[i].operands;
        const bool runs = guard == Guard::kNone || threads[i].takes_part;
        const Double expected =
            runs ? reference(joined(o[1], o[0]), joined(o[3], o[2]), joined(o[5], o[4])) : joined(8, 7);
        ASSERT_TRUE(joined(outcome.results[i][1], outcome.results[i][0]) == expected)
            << text << " of" << elementwise::row_text(o) << " gives" << elementwise::row_text(outcome.results[i]);
      }
    }
  }
};
using Words = testing::Types<std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(CarryModel, Words);

TYPED_TEST(CarryModel, CarriesFromWordToWord) {
  std::vector<std::string> types = {sizeof(TypeParam) == 4 ? "u32" : "u64"};
  if (sizeof(TypeParam) == 4) types.push_back("s32");
  for (const std::string& t : types) {
    this->expect("add.cc." + t + " $0, $2, $4;\naddc." + t + " $1, $3, $5;",
                 [](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam>) {
                   return static_cast<DoubleWord<TypeParam>>(a + b);
                 });
    this->expect("sub.cc." + t + " $0, $2, $4;\nsubc." + t + " $1, $3, $5;",
                 [](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam>) {
                   return static_cast<DoubleWord<TypeParam>>(a - b);
                 });
    // Twice over, so that the carry that addc.cc leaves is seen: (a + b) + (c + ...) by three words whose third is 0 +
    // carry.
    this->expect("add.cc." + t + " $0, $2, $4;\naddc.cc." + t + " $0, $3, $5;\naddc." + t + " $1, 0, 0;",
                 [](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam>) {
                   const auto sum = static_cast<DoubleWord<TypeParam>>(a + b);
                   return TestFixture::joined(sum < a ? 1 : 0, static_cast<std::uint64_t>(sum >> TestFixture::kBits));
                 });
    this->expect("sub.cc." + t + " $0, $2, $4;\nsubc.cc." + t + " $0, $3, $5;\nsubc." + t + " $1, 0, 0;",
                 [](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam>) {
                   const auto difference = static_cast<DoubleWord<TypeParam>>(a - b);
                   return TestFixture::joined(a < b ? ~std::uint64_t{0} : 0,
                                              static_cast<std::uint64_t>(difference >> TestFixture::kBits));
                 });
  }
}

// a (one word) times b (one word) plus c (two words), in the ways that nvcc composes wide products.
TYPED_TEST(CarryModel, MultipliesAndAddsAcrossWords) {
  const std::string t = sizeof(TypeParam) == 4 ? "u32" : "u64";
  const auto whole = [](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam> c) {
    return static_cast<DoubleWord<TypeParam>>(
        static_cast<DoubleWord<TypeParam>>(static_cast<TypeParam>(a)) * static_cast<TypeParam>(b) + c);
  };
  this->expect("mad.lo.cc." + t + " $0, $2, $4, $6;\nmadc.hi." + t + " $1, $2, $4, $7;", whole);
  // The carry out of the upper word, and madc.lo: the low product and a carry.
  this->expect(
      "mad.lo.cc." + t + " $0, $2, $4, $6;\nmadc.hi.cc." + t + " $0, $2, $4, $7;\nmadc.lo." + t + " $1, $2, $4, 0;",
      [&](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam> c) {
        const auto product = static_cast<DoubleWord<TypeParam>>(
            static_cast<DoubleWord<TypeParam>>(static_cast<TypeParam>(a)) * static_cast<TypeParam>(b));
        const auto sum = static_cast<DoubleWord<TypeParam>>(product + c);
        const auto upper = static_cast<std::uint64_t>(sum >> TestFixture::kBits);
        return TestFixture::joined(static_cast<std::uint64_t>(product) + (sum < product ? 1 : 0), upper);
      });
  // mad.hi.cc leaves a carry, madc.lo.cc takes one and leaves another.
  this->expect("mad.hi.cc." + t + " $0, $2, $4, $6;\nmadc.lo.cc." + t + " $0, $2, $4, $7;\naddc." + t + " $1, 0, 0;",
               [](DoubleWord<TypeParam> a, DoubleWord<TypeParam> b, DoubleWord<TypeParam> c) {
                 const auto product = static_cast<DoubleWord<TypeParam>>(
                     static_cast<DoubleWord<TypeParam>>(static_cast<TypeParam>(a)) * static_cast<TypeParam>(b));
                 const auto first =
                     static_cast<unsigned __int128>(product >> TestFixture::kBits) + static_cast<TypeParam>(c);
                 const unsigned __int128 second = static_cast<unsigned __int128>(static_cast<TypeParam>(product)) +
                                                  static_cast<TypeParam>(c >> TestFixture::kBits) +
                                                  (first >> TestFixture::kBits);
                 return TestFixture::joined(static_cast<std::uint64_t>(second >> TestFixture::kBits),
                                            static_cast<std::uint64_t>(second));
               });
}

TEST(SignedCarryModel, HasTheLowHalvesOfTheUnsignedOne) {
  const OneInstruction instruction{
      .text = "mad.lo.cc.s32 $0, $2, $3, $4;\nmadc.lo.s32 $1, $2, $3, $4;\nmadc.lo.cc.s32 $1, $2, $3, $1;",
      .results = "ww",
      .operands = "www"};
  std::vector<Thread> threads;
  for (auto& row : elementwise::operand_rows({4, 4, 4}, 5)) threads.push_back({.operands = std::move(row)});
  const Outcome outcome = run_one(instruction, threads, Guard::kNone);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const auto& o = threads[i].operands;
    const std::uint64_t product = static_cast<std::uint32_t>(o[0] * o[1]);
    const std::uint64_t carry = (product + o[2]) >> 32;
    ASSERT_EQ(outcome.results[i][0], static_cast<std::uint32_t>(product + o[2]));
    // madc.lo leaves no carry of its own, so the third instruction takes the first one's.
    const auto second = static_cast<std::uint32_t>(product + o[2] + carry);
    ASSERT_EQ(outcome.results[i][1], static_cast<std::uint32_t>(product + second + carry)) << elementwise::row_text(o);
  }
}

}  // namespace
}  // namespace trireme::gpu
