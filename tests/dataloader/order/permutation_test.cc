#include "dataloader/order/permutation.h"

#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace trireme {

namespace {

bool is_bijection(const Permutation& permutation) {
  std::vector<bool> seen(permutation.size());
  for (std::uint64_t i = 0; i < permutation.size(); ++i) {
    const std::uint64_t image = permutation(i);
    if (image >= permutation.size() || seen[image]) return false;
    seen[image] = true;
  }
  return true;
}

// A count of `trials` fair coins has deviation sqrt(trials) / 2. Over the fewer than 10^4 counts of one test, a bound
// of 6.5 deviations fails by chance with probability below 10^4 * 8e-11 < 1e-6.
constexpr double kDeviations = 6.5;
bool is_fair(std::uint64_t heads, std::uint64_t trials) {
  const double half = static_cast<double>(trials) / 2;
  return std::abs(static_cast<double>(heads) - half) <= kDeviations * std::sqrt(static_cast<double>(trials)) / 2;
}

// P(chi-square with d degrees of freedom >= d + 2 sqrt(d x) + 2 x) <= exp(-x) (Laurent and Massart 2000, lemma 1); x =
// 16 leaves about 1e-7.
bool is_uniform(const std::vector<std::uint64_t>& counts, double expected) {
  double chi_square = 0;
  for (const std::uint64_t count : counts)
    chi_square += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
  const double freedom = static_cast<double>(counts.size()) - 1;
  return chi_square <= freedom + 2 * std::sqrt(freedom * 16) + 2 * 16;
}

}  // namespace

TEST(Permutation, IsABijectionForEverySmallSize) {
  for (std::uint64_t n = 1; n <= 600; ++n)
    for (std::uint64_t seed = 0; seed < 3; ++seed)
      ASSERT_TRUE(is_bijection({n, derive_key(seed, "order", n)})) << "n = " << n << ", seed = " << seed;
}

TEST(Permutation, IsABijectionAroundEveryPowerOfTwo) {
  for (int k = 1; k <= 18; ++k)
    for (std::int64_t off = -1; off <= 1; ++off) {
      const std::uint64_t n = (std::uint64_t{1} << k) + static_cast<std::uint64_t>(off);
      ASSERT_TRUE(is_bijection({n, derive_key(7, "order", n)})) << "n = " << n;
    }
}

RC_GTEST_PROP(Permutation, InverseUndoesItAtAnySize, ()) {
  const int bits = *rc::gen::inRange(0, 64);
  const std::uint64_t n = 1 + *rc::gen::arbitrary<std::uint64_t>() % (std::uint64_t{1} << bits);
  const Permutation permutation(n, *rc::gen::arbitrary<std::uint64_t>());
  for (int trial = 0; trial < 10; ++trial) {
    const std::uint64_t index = *rc::gen::arbitrary<std::uint64_t>() % n;
    RC_ASSERT(permutation(index) < n);
    RC_ASSERT(permutation.inverse(permutation(index)) == index);
    RC_ASSERT(permutation(permutation.inverse(index)) == index);
  }
}

TEST(Permutation, HoldsAtTheLargestSize) {
  const Permutation permutation(std::uint64_t{1} << 63, 5);
  for (const std::uint64_t index : {std::uint64_t{0}, (std::uint64_t{1} << 63) - 1})
    EXPECT_EQ(permutation.inverse(permutation(index)), index);
}

// A round that is linear in its low bit leaves the parity of the output to follow from two bits of the input.
TEST(Permutation, NeitherParityNorAnyBitOfTheOutputFollowsFromOneOrTwoBitsOfTheInput) {
  constexpr int kBits = 16;
  constexpr std::uint64_t n = 1 << kBits;
  std::vector<std::uint64_t> masks;
  for (int a = 0; a < kBits; ++a)
    for (int b = a; b < kBits; ++b) masks.push_back(std::uint64_t{1} << a | std::uint64_t{1} << b);
  for (std::uint64_t seed = 0; seed < 2; ++seed) {
    const Permutation permutation(n, derive_key(seed, "order", 0));
    std::vector<std::array<std::uint64_t, kBits + 1>> agree(masks.size());
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t image = permutation(i);
      const std::uint64_t bits = image | static_cast<std::uint64_t>(std::popcount(image) & 1) << kBits;
      for (std::size_t m = 0; m < masks.size(); ++m) {
        const std::uint64_t input = std::popcount(i & masks[m]) & 1;
        for (int out = 0; out <= kBits; ++out) agree[m][out] += (bits >> out & 1) == input;
      }
    }
    for (std::size_t m = 0; m < masks.size(); ++m)
      for (int out = 0; out <= kBits; ++out)
        EXPECT_TRUE(is_fair(agree[m][out], n))
            << "mask " << masks[m] << ", output bit " << out << ": " << agree[m][out];
  }
}

TEST(Permutation, EachBitOfTheInputFlipsEachBitOfTheOutputHalfTheTime) {
  constexpr std::uint64_t kTrials = 20000;
  for (const int bits : {12, 20, 33}) {
    const std::uint64_t n = std::uint64_t{1} << bits;
    for (int in = 0; in < bits; ++in) {
      std::vector<std::uint64_t> flips(bits);
      for (std::uint64_t trial = 0; trial < kTrials; ++trial) {
        const Permutation permutation(n, derive_key(trial / 16, "order", 0));
        const std::uint64_t x = mix_bits(trial * 64 + static_cast<std::uint64_t>(in)) % n;
        const std::uint64_t flipped = permutation(x) ^ permutation(x ^ std::uint64_t{1} << in);
        for (int out = 0; out < bits; ++out) flips[out] += flipped >> out & 1;
      }
      for (int out = 0; out < bits; ++out)
        EXPECT_TRUE(is_fair(flips[out], kTrials)) << bits << " bits, " << in << " to " << out << ": " << flips[out];
    }
  }
}

TEST(Permutation, EachBitOfTheSeedAndOfTheEpochFlipsEachBitOfTheOutputHalfTheTime) {
  constexpr std::uint64_t kTrials = 10000;
  constexpr int kBits = 20;
  for (int in = 0; in < 128; in += 5) {
    std::array<std::uint64_t, kBits> flips{};
    for (std::uint64_t trial = 0; trial < kTrials; ++trial) {
      const std::uint64_t seed = trial, epoch = trial % 3;
      const std::uint64_t other_seed = in < 64 ? seed ^ std::uint64_t{1} << in : seed;
      const std::uint64_t other_epoch = in < 64 ? epoch : epoch ^ std::uint64_t{1} << (in - 64);
      const std::uint64_t x = mix_bits(trial) % (1 << kBits);
      const std::uint64_t flipped = Permutation(1 << kBits, derive_key(seed, "order", epoch))(x) ^
                                    Permutation(1 << kBits, derive_key(other_seed, "order", other_epoch))(x);
      for (int out = 0; out < kBits; ++out) flips[out] += flipped >> out & 1;
    }
    for (int out = 0; out < kBits; ++out) EXPECT_TRUE(is_fair(flips[out], kTrials)) << in << " to " << out;
  }
}

TEST(Permutation, EveryOrderOfAFewComesUpEquallyOften) {
  constexpr std::uint64_t kSeeds = 20000;
  double orders = 1;
  for (std::uint64_t n = 2; n <= 6; ++n) {
    orders *= static_cast<double>(n);
    std::map<std::vector<std::uint64_t>, std::uint64_t> seen;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      const Permutation permutation(n, derive_key(seed, "order", 1));
      std::vector<std::uint64_t> order;
      for (std::uint64_t i = 0; i < n; ++i) order.push_back(permutation(i));
      ++seen[order];
    }
    ASSERT_EQ(static_cast<double>(seen.size()), orders);
    std::vector<std::uint64_t> counts;
    for (const auto& [order, count] : seen) counts.push_back(count);
    EXPECT_TRUE(is_uniform(counts, kSeeds / orders)) << "n = " << n;
  }
}

TEST(Permutation, TheImagesOfNeighboursAreUniformPairs) {
  constexpr std::uint64_t kSize = 23, kSeeds = 50600;  // 100 for each of the 23 * 22 pairs
  std::vector<std::uint64_t> counts(kSize * (kSize - 1));
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Permutation permutation(kSize, derive_key(seed, "order", 0));
    const std::uint64_t a = permutation(4), b = permutation(5);
    ++counts[a * (kSize - 1) + b - (b > a)];
  }
  EXPECT_TRUE(is_uniform(counts, 100));
}

// A batch of 64 out of 2^20 should hold Binomial(64, 1/16) from each sixteenth of the corpus: neither clumped nor too
// even.
TEST(Permutation, BatchesAreComposedLikeRandomDraws) {
  constexpr std::uint64_t n = 1 << 20, kBatch = 64;
  const Permutation permutation(n, derive_key(3, "order", 0));
  std::vector<double> variance(16);
  constexpr std::uint64_t kBatches = n / kBatch;
  for (std::uint64_t batch = 0; batch < kBatches; ++batch) {
    std::array<int, 16> from{};
    for (std::uint64_t i = 0; i < kBatch; ++i) ++from[permutation(batch * kBatch + i) / (n / 16)];
    for (int part = 0; part < 16; ++part) variance[part] += (from[part] - 4.0) * (from[part] - 4.0) / kBatches;
  }
  // Variance v = 64 (1/16) (15/16) = 3.75. Of 16384 squares, each with variance v^2 (2 + 1/v - 6/64) (the binomial's
  // kurtosis is 3 - 6/64 + 1/v), the mean deviates by v sqrt(2.173 / 16384) = 0.0432.
  for (int part = 0; part < 16; ++part) EXPECT_NEAR(variance[part], 3.75, kDeviations * 0.0432) << "sixteenth " << part;
}

}  // namespace trireme
