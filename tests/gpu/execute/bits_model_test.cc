// PTX ISA 9.0, 9.7.1 (popc, clz, bfind, brev, bfe, bfi), 9.7.8 "Logic and Shift Instructions" and prmt, bit by bit.
#include <type_traits>

#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"

namespace trireme::gpu {
namespace {

using U32 = std::uint32_t;

template <class T>
constexpr int kBits = 8 * sizeof(T);
template <class T>
bool bit(T value, int place) {
  return (static_cast<std::uint64_t>(static_cast<std::make_unsigned_t<T>>(value)) >> place & 1) != 0;
}
// The value whose bit i is choose(i).
template <class T, class Choose>
T bits(const Choose& choose) {
  std::uint64_t value = 0;
  for (int i = 0; i < kBits<T>; ++i) value |= static_cast<std::uint64_t>(choose(i)) << i;
  return static_cast<T>(value);
}

template <class T>
class BitModel : public testing::Test {
 protected:
  const std::string width_ = std::to_string(8 * sizeof(T));
  std::string named(const std::string& opcode) const { return opcode + width_; }
};
using Widths = testing::Types<std::uint16_t, std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(BitModel, Widths);

TYPED_TEST(BitModel, CombinesBitByBit) {
  using T = TypeParam;
  LaneByLane<T(T, T)>(this->named("and.b"), [](T a, T b) {
    return bits<T>([&](int i) { return bit(a, i) && bit(b, i); });
  }).holds();
  LaneByLane<T(T, T)>(this->named("or.b"), [](T a, T b) {
    return bits<T>([&](int i) { return bit(a, i) || bit(b, i); });
  }).holds();
  LaneByLane<T(T, T)>(this->named("xor.b"), [](T a, T b) {
    return bits<T>([&](int i) { return bit(a, i) != bit(b, i); });
  }).holds();
  LaneByLane<T(T)>(this->named("not.b"), [](T a) { return bits<T>([&](int i) { return !bit(a, i); }); }).holds();
  LaneByLane<T(T)>(this->named("cnot.b"), [](T a) { return static_cast<T>(a == 0); }).holds();
}

// "Shift amounts greater than the register width N are clamped to N."
TYPED_TEST(BitModel, ShiftsByUpToItsWidth) {
  using T = TypeParam;
  using S = std::make_signed_t<T>;
  const auto left = [](T a, U32 n) {
    return bits<T>([&](int i) { return n <= U32(i) && bit(a, i - static_cast<int>(n)); });
  };
  const auto right = [](T a, U32 n) {
    return bits<T>([&](int i) { return n < U32(kBits<T> - i) && bit(a, i + static_cast<int>(n)); });
  };
  const auto arithmetic = [](S a, U32 n) {
    return bits<S>([&](int i) { return n < U32(kBits<T> - i) ? bit(a, i + static_cast<int>(n)) : a < 0; });
  };
  LaneByLane<T(T, U32)>(this->named("shl.b"), left).holds();
  LaneByLane<T(T, U32)>(this->named("shr.b"), right).holds();
  LaneByLane<T(T, U32)>(this->named("shr.u"), right).holds();
  LaneByLane<S(S, U32)>(this->named("shr.s"), arithmetic).holds();
}

TYPED_TEST(BitModel, CountsAndFindsBits) {
  using T = TypeParam;
  using S = std::make_signed_t<T>;
  if constexpr (sizeof(T) >= 4) {
    LaneByLane<U32(T)>(this->named("popc.b"), [](T a) {
      U32 count = 0;
      for (int i = 0; i < kBits<T>; ++i) count += bit(a, i) ? 1 : 0;
      return count;
    }).holds();
    LaneByLane<U32(T)>(this->named("clz.b"), [](T a) {
      U32 zeros = 0;
      for (int i = kBits<T> - 1; i >= 0 && !bit(a, i); --i) ++zeros;
      return zeros;
    }).holds();
    LaneByLane<T(T)>(this->named("brev.b"), [](T a) {
      return bits<T>([&](int i) { return bit(a, kBits<T> - 1 - i); });
    }).holds();

    // The most significant bit that is not the sign; .shiftamt: how far to shift it to the top. None: 0xFFFFFFFF.
    const auto find = [](auto a) {
      const bool sign = a < 0;
      for (int i = kBits<T> - 1; i >= 0; --i) {
        if (bit(a, i) != sign) return static_cast<U32>(i);
      }
      return ~U32{0};
    };
    const auto shift = [find](auto a) { return find(a) == ~U32{0} ? ~U32{0} : U32{kBits<T>} - 1 - find(a); };
    LaneByLane<U32(T)>(this->named("bfind.u"), find).holds();
    LaneByLane<U32(S)>(this->named("bfind.s"), find).holds();
    LaneByLane<U32(T)>(this->named("bfind.shiftamt.u"), shift).holds();
    LaneByLane<U32(S)>(this->named("bfind.shiftamt.s"), shift).holds();
  }
}

// The pseudocode of 9.7.1 bfe and bfi: pos = b & 0xFF, len = c & 0xFF.
TYPED_TEST(BitModel, TakesAndPutsFields) {
  using T = TypeParam;
  using S = std::make_signed_t<T>;
  if constexpr (sizeof(T) >= 4) {
    const auto take = [](auto a, U32 b, U32 c) {
      using A = decltype(a);
      const int msb = kBits<T> - 1;
      const int position = static_cast<int>(b & 0xFF);
      const int length = static_cast<int>(c & 0xFF);
      const bool sign = std::is_signed_v<A> && length != 0 && bit(a, std::min(position + length - 1, msb));
      return bits<A>([&](int i) { return i < length && position + i <= msb ? bit(a, position + i) : sign; });
    };
    const auto put = [](T a, T b, U32 c, U32 d) {
      const int position = static_cast<int>(c & 0xFF);
      const int length = static_cast<int>(d & 0xFF);
      return bits<T>([&](int i) { return i >= position && i < position + length ? bit(a, i - position) : bit(b, i); });
    };
    std::vector<std::tuple<T, U32, U32>> fields;
    std::vector<std::tuple<S, U32, U32>> signed_fields;
    std::vector<std::tuple<T, T, U32, U32>> inserts;
    for (U32 position = 0; position <= kBits<T> + 1; position += 3) {
      for (U32 length = 0; length <= kBits<T> + 1; ++length) {
        const auto value = static_cast<T>(0x9E3779B97F4A7C15u * (position + 1) + length);
        fields.emplace_back(value, position, length);
        signed_fields.emplace_back(static_cast<S>(value), position, length);
        inserts.emplace_back(value, static_cast<T>(~value * 3), position, length);
      }
    }
    LaneByLane<T(T, U32, U32)>(this->named("bfe.u"), take).also(fields).holds();
    LaneByLane<S(S, U32, U32)>(this->named("bfe.s"), take).also(signed_fields).holds();
    LaneByLane<T(T, T, U32, U32)>(this->named("bfi.b"), put).also(inserts).holds();
  }
}

// 9.7.8 shf: of the 64 bits with a below and b above. .l gives the upper half, .r the lower one.
TEST(FunnelShiftModel, ShiftsTwoRegistersAsOne) {
  using Reference = std::function<U32(U32, U32, U32)>;
  const auto joined_bit = [](U32 a, U32 b, int i) { return i >= 0 && i < 64 && (i < 32 ? bit(a, i) : bit(b, i - 32)); };
  const auto left = [=](U32 a, U32 b, U32 n) {
    return bits<U32>([&](int i) { return joined_bit(a, b, 32 + i - static_cast<int>(n)); });
  };
  const auto right = [=](U32 a, U32 b, U32 n) {
    return bits<U32>([&](int i) { return joined_bit(a, b, i + static_cast<int>(n)); });
  };
  const auto wrap = [](const Reference& f) { return [f](U32 a, U32 b, U32 c) { return f(a, b, c & 31); }; };
  const auto clamp = [](const Reference& f) { return [f](U32 a, U32 b, U32 c) { return f(a, b, std::min(c, 32u)); }; };
  std::vector<std::tuple<U32, U32, U32>> amounts;
  for (U32 n = 0; n < 70; ++n) amounts.emplace_back(0x89ABCDEF, 0x01234567, n);
  using Shift = LaneByLane<U32(U32, U32, U32)>;
  Shift("shf.l.wrap.b32", wrap(left)).also(amounts).holds();
  Shift("shf.l.clamp.b32", clamp(left)).also(amounts).holds();
  Shift("shf.r.wrap.b32", wrap(right)).also(amounts).holds();
  Shift("shf.r.clamp.b32", clamp(right)).also(amounts).holds();
}

// 9.7.9 prmt: byte i of the result is byte (c >> 4i) & 7 of {b, a}, or that byte's sign.
TEST(PermuteModel, PicksBytesAndTheirSigns) {
  const auto byte = [](U32 a, U32 b, U32 i) { return (i < 4 ? a >> (8 * i) : b >> (8 * (i - 4))) & 0xFF; };
  std::vector<std::tuple<U32, U32, U32>> selectors;
  for (U32 c = 0; c < 0x10000; c += 7) selectors.emplace_back(0x8211C3F4, 0x15A6E738, c);
  LaneByLane<U32(U32, U32, U32)>("prmt.b32",
                                 [&](U32 a, U32 b, U32 c) {
                                   U32 out = 0;
                                   for (U32 i = 0; i < 4; ++i) {
                                     const U32 selector = c >> (4 * i) & 0xF;
                                     const U32 picked = byte(a, b, selector & 7);
                                     out |= (selector < 8 ? picked : picked > 127 ? 255 : 0) << (8 * i);
                                   }
                                   return out;
                                 })
      .also(selectors)
      .holds();
}

// 9.7.8 lop3: immLut is F(0xF0, 0xCC, 0xAA), F being the function wanted.
TEST(ThreeInputLogicModel, HasAll256Functions) {
  for (int table = 0; table < 256; ++table) {
    const OneInstruction instruction{
        .text = "lop3.b32 $0, $1, $2, $3, " + std::to_string(table) + ";", .results = "w", .operands = "www"};
    std::vector<Thread> threads;
    std::mt19937_64 generator(static_cast<unsigned>(table));
    for (int i = 0; i < 64; ++i) {
      threads.push_back(
          {.takes_part = i % 5 != 0, .kept = {99}, .operands = {U32(generator()), U32(generator()), U32(generator())}});
    }
    threads[1].operands = {0xF0, 0xCC, 0xAA};
    for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
      const Outcome outcome = run_one(instruction, threads, guard);
      EXPECT_EQ(outcome.results[1][0] & 0xFF, static_cast<U32>(table));
      for (std::size_t i = 0; i < threads.size(); ++i) {
        const auto& o = threads[i].operands;
        const U32 expected = bits<U32>([&](int place) {
          const auto row = (o[0] >> place & 1) * 4 + (o[1] >> place & 1) * 2 + (o[2] >> place & 1);
          return (table >> row & 1) != 0;
        });
        ASSERT_EQ(outcome.results[i][0], guard == Guard::kPredicate && i % 5 == 0 ? 99 : expected) << "table " << table;
      }
    }
  }
}

TEST(PredicateModel, CombinesPredicates) {
  LaneByLane<bool(bool, bool)>("and.pred", [](bool a, bool b) { return a && b; }).holds();
  LaneByLane<bool(bool, bool)>("or.pred", [](bool a, bool b) { return a || b; }).holds();
  LaneByLane<bool(bool, bool)>("xor.pred", [](bool a, bool b) { return a != b; }).holds();
  LaneByLane<bool(bool)>("not.pred", [](bool a) { return !a; }).holds();
  LaneByLane<bool(bool)>("mov.pred", [](bool a) { return a; }).holds();
}

}  // namespace
}  // namespace trireme::gpu
