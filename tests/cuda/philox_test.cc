#include "cuda/core/philox.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "tests/cuda/oracle/philox.h"

namespace trireme {
namespace {

struct KnownAnswer {
  std::uint32_t counter[4], key[2], answer[4];
};

// Random123 1.08, tests/kat_vectors, "philox4x32 10".
constexpr KnownAnswer kKnown[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                                  {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                                   {0xffffffff, 0xffffffff},
                                   {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                                  {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                                   {0xa4093822, 0x299f31d0},
                                   {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};

TEST(Philox, GivesTheAnswersOfItsAuthors) {
  for (const KnownAnswer& known : kKnown) {
    const std::uint64_t key = std::uint64_t{known.key[1]} << 32 | known.key[0];
    const PhiloxBlock block = philox(key, known.counter[0], known.counter[1], known.counter[2], known.counter[3]);
    for (int lane = 0; lane < 4; ++lane) EXPECT_EQ(block.lane[lane], known.answer[lane]);
    // The oracle is a second reading of the paper.
    const auto again = oracle::philox({known.counter[0], known.counter[1], known.counter[2], known.counter[3]},
                                      {known.key[0], known.key[1]});
    for (std::size_t lane = 0; lane < 4; ++lane) EXPECT_EQ(again[lane], known.answer[lane]);
  }
}

TEST(Philox, GivesDifferentKeysToDifferentNamesSeedsAndHeads) {
  std::set<std::uint64_t> keys;
  for (std::uint64_t seed : {0, 1, 2})
    for (const char* name : {"", "a", "b", "ab", "ba", "layers.1.attention", "layers.11.attention"}) {
      const std::uint64_t key = key_of(seed, name);
      EXPECT_TRUE(keys.insert(key).second);
      for (std::uint32_t head = 0; head < 64; ++head) EXPECT_TRUE(keys.insert(key_of_head(key, head)).second);
    }
}

TEST(Philox, KeepsTheShareThatItIsAskedTo) {
  EXPECT_EQ(drop_threshold(0), 0u);
  EXPECT_EQ(drop_threshold(0.5f), 0x80000000u);
  constexpr int kBlocks = 50000;
  for (float p : {0.1f, 0.5f, 0.9f}) {
    int dropped = 0;
    for (std::uint32_t i = 0; i < kBlocks; ++i)
      for (std::uint32_t lane : philox(7, i, 0, 0, 0).lane) dropped += lane < drop_threshold(p);
    // Five deviations of a binomial.
    EXPECT_NEAR(dropped, 4 * kBlocks * p, 5 * std::sqrt(4 * kBlocks * p * (1 - p)));
  }
}

TEST(Philox, NormalNumbersHaveTheMomentsOfANormal) {
  constexpr int kCount = 200000;
  double moments[5] = {};
  for (int e = 0; e < kCount; ++e) {
    const double x = oracle::normal(static_cast<std::uint64_t>(e), 99);
    for (int power = 1; power < 5; ++power) moments[power] += std::pow(x, power) / kCount;
  }
  // Five deviations: of x^k that is sqrt((2k-1)!! - (the square of its mean)) / sqrt(n).
  const double root = std::sqrt(kCount);
  EXPECT_NEAR(moments[1], 0, 5 / root);
  EXPECT_NEAR(moments[2], 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(moments[3], 0, 5 * std::sqrt(15.0) / root);
  EXPECT_NEAR(moments[4], 3, 5 * std::sqrt(96.0) / root);
}

}  // namespace
}  // namespace trireme
