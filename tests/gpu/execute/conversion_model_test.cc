// PTX ISA 9.0, 9.7.9.21 "cvt". Integers are extended or cut; numbers beyond an integer's range are clamped to it; a NaN
// gives 0, but the integer's highest bit alone if the source is f64 or the integer has 64 bits; everything else is
// rounded once, as said.
#include <limits>

#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/narrow_reference.h"

namespace trireme::gpu {
namespace {

using reference::flush;
using reference::kBrain;
using reference::kHalf;
using reference::Quad;
using reference::Towards;

using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;
using Wide = __int128;

struct Mode {
  const char* letter;
  Towards towards;
};
const Mode kModes[] = {
    {"n", Towards::kNearest}, {"z", Towards::kZero}, {"m", Towards::kMinusInfinity}, {"p", Towards::kPlusInfinity}};

// An integer type by its bits, whatever register it lies in.
struct IntegerType {
  std::string name;
  int bits;
  bool is_signed;
  Wide least() const { return is_signed ? -(Wide{1} << (bits - 1)) : Wide{0}; }
  Wide most() const { return (Wide{1} << (is_signed ? bits - 1 : bits)) - 1; }
  // The value of a register's low bits.
  Wide value(U64 from) const {
    const Wide unsigned_value = static_cast<Wide>(bits == 64 ? from : from & ((U64{1} << bits) - 1));
    return is_signed && unsigned_value > most() ? unsigned_value - (Wide{1} << bits) : unsigned_value;
  }
  std::string register_letter() const { return bits == 64 ? "d" : bits == 32 ? "w" : "h"; }
  U64 register_mask() const { return bits == 64 ? ~U64{0} : bits == 32 ? 0xFFFFFFFF : 0xFFFF; }
};
const IntegerType kIntegers[] = {{"s8", 8, true},   {"u8", 8, false},   {"s16", 16, true}, {"u16", 16, false},
                                 {"s32", 32, true}, {"u32", 32, false}, {"s64", 64, true}, {"u64", 64, false}};

std::size_t bytes_of(char letter) { return letter == 'h' ? 2 : letter == 'w' ? 4 : 8; }

// f: U64(U64), over registers of the letters given.
template <class Function>
void expect_bits(const std::string& name, const std::string& to, const std::string& from, const Function& f) {
  const OneInstruction instruction{.text = name + " $0, $1;", .results = to, .operands = from};
  std::vector<Thread> threads;
  for (auto& row : elementwise::operand_rows({bytes_of(from[0])}, name.size())) {
    threads.push_back({.takes_part = threads.size() % 3 != 2,
                       .kept = {0x1111 * (1 + threads.size() % 14)},
                       .operands = std::move(row)});
  }
  for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
    const Outcome outcome = run_one(instruction, threads, guard);
    int complaints = 0;
    for (std::size_t i = 0; i < threads.size() && complaints < 4; ++i) {
      const bool runs = guard == Guard::kNone || threads[i].takes_part;
      const U64 expected = runs ? f(threads[i].operands[0]) : threads[i].kept[0];
      if (outcome.results[i][0] == expected) continue;
      ++complaints;
      ADD_FAILURE() << name << " of" << elementwise::row_text(threads[i].operands) << " gives"
                    << elementwise::row_text(outcome.results[i]) << ", not" << elementwise::row_text({expected});
    }
  }
}

TEST(ConversionModel, ExtendsCutsAndClampsIntegers) {
  for (const auto& to : kIntegers) {
    for (const auto& from : kIntegers) {
      // 8-bit values lie in wider registers, which the result fills by sign or zeros; so may others.
      const auto cut = [&](U64 x) {
        return static_cast<U64>(to.value(static_cast<U64>(from.value(x)))) & to.register_mask();
      };
      expect_bits("cvt." + to.name + "." + from.name, to.register_letter(), from.register_letter(), cut);
      expect_bits("cvt.sat." + to.name + "." + from.name, to.register_letter(), from.register_letter(), [&](U64 x) {
        const Wide value = from.value(x);
        return static_cast<U64>(value < to.least()  ? to.least()
                                : value > to.most() ? to.most()
                                                    : value) &
               to.register_mask();
      });
    }
  }
  // 9.4.1 "Operand Size Exceeding Instruction-Type Size": nvcc keeps bytes in 32-bit registers.
  expect_bits("cvt.s8.s32", "w", "w", [](U64 x) { return U64{static_cast<U32>(static_cast<std::int8_t>(x))}; });
  expect_bits("cvt.u8.u32", "w", "w", [](U64 x) { return x & 0xFF; });
  expect_bits("cvt.s32.s8", "w", "w", [](U64 x) { return U64{static_cast<U32>(static_cast<std::int8_t>(x))}; });
  expect_bits("cvt.u64.u8", "d", "w", [](U64 x) { return x & 0xFF; });
}

// To a whole number, by comparing with the one below.
Quad whole(double x, Towards towards) {
  const double floor = std::floor(x);
  if (floor == x) return x;
  const double rest = x - floor;
  const bool odd = std::fmod(floor, 2) != 0;
  const bool up = towards == Towards::kPlusInfinity || (towards == Towards::kZero && x < 0) ||
                  (towards == Towards::kNearest && (rest > 0.5 || (rest == 0.5 && odd)));
  return up ? Quad{floor} + 1 : Quad{floor};
}

U64 integer_of(double x, const IntegerType& to, Towards towards, bool from_double) {
  if (std::isnan(x)) return from_double || to.bits == 64 ? U64{1} << (to.bits - 1) : 0;
  const Quad value = std::isinf(x) ? Quad{x} : whole(x, towards);
  const Wide clamped = value < static_cast<Quad>(to.least())  ? to.least()
                       : value > static_cast<Quad>(to.most()) ? to.most()
                                                              : static_cast<Wide>(value);
  return static_cast<U64>(clamped) & to.register_mask();
}

TEST(ConversionModel, RoundsToIntegersAndClamps) {
  for (const auto& mode : kModes) {
    for (const auto& to : kIntegers) {
      if (to.bits == 8) continue;
      const std::string head = std::string("cvt.r") + mode.letter + "i.";
      const std::string r = to.register_letter();
      const Towards t = mode.towards;
      expect_bits(head + to.name + ".f32", r, "w",
                  [&](U64 x) { return integer_of(from_bits<float>(x), to, t, false); });
      expect_bits(head + "ftz." + to.name + ".f32", r, "w",
                  [&](U64 x) { return integer_of(flush(from_bits<float>(x)), to, t, false); });
      expect_bits(head + to.name + ".f64", r, "d",
                  [&](U64 x) { return integer_of(from_bits<double>(x), to, t, true); });
    }
  }
}

TEST(ConversionModel, RoundsHalvesToIntegers) {
  for (const auto& to : kIntegers) {
    if (to.bits == 8 || to.name == "u64") continue;
    expect_bits("cvt.rzi." + to.name + ".f16", to.register_letter(), "h",
                [&](U64 x) { return integer_of(kHalf.value(static_cast<U16>(x)), to, Towards::kZero, false); });
  }
}

// f32 or f64 from what fits into 113 bits. To nearest is the processor's rounding of a 113-bit number, done once.
template <class T>
T rounded(Quad x, Towards towards) {
  const T nearest = static_cast<T>(x);
  return reference::directed(nearest, reference::sign_of(x - Quad{nearest}), towards);
}

TEST(ConversionModel, RoundsIntegersToFloats) {
  for (const auto& from : kIntegers) {
    const std::string r = from.register_letter();
    for (const auto& mode : kModes) {
      if (from.bits == 8 && mode.towards != Towards::kNearest) continue;
      const auto single = [&](U64 x) {
        return to_bits(rounded<float>(static_cast<Quad>(from.value(x)), mode.towards));
      };
      expect_bits(std::string("cvt.r") + mode.letter + ".f32." + from.name, "w", r, single);
    }
    const auto wide = [&](U64 x) {
      return to_bits(rounded<double>(static_cast<Quad>(from.value(x)), Towards::kNearest));
    };
    expect_bits("cvt.rn.f64." + from.name, "d", r, wide);
    // 9.7.9.21 via 6.5.1: what is beyond f16's range becomes infinite.
    if (from.bits == 8 || from.name == "u64") continue;
    expect_bits("cvt.rn.f16." + from.name, "h", r, [&](U64 x) {
      const Wide value = from.value(x);
      return U64{kHalf.rounded(static_cast<Quad>(value), Quad{0}, false)};
    });
  }
}

TEST(ConversionModel, NarrowsDoublesToSingles) {
  for (const auto& mode : kModes) {
    const auto narrow = [&](double x) {
      if (!std::isfinite(x)) return static_cast<float>(x);
      return rounded<float>(Quad{x}, mode.towards);
    };
    const std::string head = std::string("cvt.r") + mode.letter;
    LaneByLane<float(double)>(head + ".f32.f64", narrow).holds();
    LaneByLane<float(double)>(head + ".ftz.f32.f64", [&](double x) { return flush(narrow(x)); }).holds();
  }
  LaneByLane<double(float)>("cvt.f64.f32", [](float x) { return static_cast<double>(x); }).holds();
  LaneByLane<double(float)>("cvt.ftz.f64.f32", [](float x) { return static_cast<double>(flush(x)); }).holds();
}

TEST(ConversionModel, RoundsToWholeNumbersInTheSameFormat) {
  for (const auto& mode : kModes) {
    // The sign stays, of zeros too.
    const auto in_place = [&](double x) {
      return std::isfinite(x) ? std::copysign(static_cast<double>(whole(x, mode.towards)), x) : x;
    };
    const std::string head = std::string("cvt.r") + mode.letter + "i.";
    LaneByLane<float(float)>(head + "f32.f32", [&](float x) { return static_cast<float>(in_place(x)); }).holds();
    LaneByLane<float(float)>(head + "ftz.f32.f32", [&](float x) {
      return static_cast<float>(in_place(flush(x)));
    }).holds();
    LaneByLane<double(double)>(head + "f64.f64", in_place).holds();
    LaneByLane<U16(U16)>(head + "f16.f16", [&](U16 x) { return kHalf.rounded(in_place(kHalf.value(x))); }).holds();
  }
}

TEST(ConversionModel, SaturatesSingles) {
  LaneByLane<float(float)>("cvt.sat.f32.f32", [](float x) { return reference::saturate(x); }).holds();
  LaneByLane<float(float)>("cvt.ftz.sat.f32.f32", [](float x) { return reference::saturate(flush(x)); }).holds();
}

// All 65536 of them.
TEST(ConversionModel, WidensEveryHalfAndBrainFloat) {
  std::vector<std::tuple<U16>> all;
  for (U32 x = 0; x < 0x10000; ++x) all.emplace_back(static_cast<U16>(x));
  const auto half = [](U16 x) { return static_cast<float>(kHalf.value(x)); };
  LaneByLane<float(U16)>("cvt.f32.f16", half).also(all).holds();
  LaneByLane<float(U16)>("cvt.ftz.f32.f16", half).also(all).holds();  // no f16 is subnormal in f32
  LaneByLane<double(U16)>("cvt.f64.f16", [](U16 x) { return kHalf.value(x); }).also(all).holds();
  const auto brain = [](U16 x) { return static_cast<float>(kBrain.value(x)); };
  LaneByLane<float(U16)>("cvt.f32.bf16", brain).also(all).holds(AnyNan());
}

// Values in the middle between two neighbours, and just beside it.
std::vector<std::tuple<float>> ties(const reference::NarrowFormat& format) {
  std::vector<std::tuple<float>> rows;
  for (U16 bits = 0; bits < format.infinity(); bits = static_cast<U16>(bits + 97)) {
    const auto middle = static_cast<float>((format.value(bits) + format.value(static_cast<U16>(bits + 1))) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
      rows.emplace_back(x);
      rows.emplace_back(-x);
    }
  }
  return rows;
}

TEST(ConversionModel, NarrowsSinglesOneAndTwoAtATime) {
  for (const auto& [type, format] :
       {std::pair<std::string, const reference::NarrowFormat&>{"f16", kHalf}, {"bf16", kBrain}}) {
    for (const auto& mode : {kModes[0], kModes[1]}) {
      const auto narrow = [&](float x) { return format.rounded(x, mode.towards); };
      // .relu clamps what is negative to 0; NaN stays.
      const auto relu = [&](float x) { return std::isnan(x) || x > 0 ? narrow(x) : U16{0}; };
      const std::string head = std::string("cvt.r") + mode.letter;
      LaneByLane<U16(float)>(head + "." + type + ".f32", narrow).also(ties(format)).holds();
      LaneByLane<U16(float)>(head + ".relu." + type + ".f32", relu).holds();
      LaneByLane<U32(float, float)>(head + "." + type + "x2.f32", [&](float a, float b) {
        return U32{narrow(a)} << 16 | narrow(b);
      }).holds();
      LaneByLane<U32(float, float)>(head + ".relu." + type + "x2.f32", [&](float a, float b) {
        return U32{relu(a)} << 16 | relu(b);
      }).holds();
    }
  }
  LaneByLane<U16(float)>("cvt.rn.ftz.f16.f32", [](float x) { return kHalf.rounded(flush(x)); }).holds();
  LaneByLane<U16(double)>("cvt.rn.f16.f64", [](double x) { return kHalf.rounded(x); }).holds();
}

// tf32 is the upper 19 bits of an f32; the lower 13 are open. .rna: ties away from zero.
struct UpperNineteenBits {
  bool operator()(U32 expected, U32 actual) const {
    const bool nan = (expected & 0x7FFFFFFF) > 0x7F800000;
    return nan ? (actual & 0x7FFFFFFF) > 0x7F800000 : expected >> 13 == actual >> 13;
  }
};
TEST(ConversionModel, RoundsToTensorFloatsAwayFromZeroOnTies) {
  LaneByLane<U32(float)>("cvt.rna.tf32.f32", [](float x) {
    if (!std::isfinite(x)) return static_cast<U32>(to_bits(x));
    int exponent = 0;
    std::frexp(x, &exponent);
    const double unit = std::ldexp(1.0, std::max(exponent - 1, -126) - 10);
    return static_cast<U32>(
        to_bits(static_cast<float>(std::copysign(std::floor(std::fabs(x) / unit + 0.5) * unit, x))));
  }).holds(UpperNineteenBits());
}

}  // namespace
}  // namespace trireme::gpu
