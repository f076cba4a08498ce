#include "trainer/generate/sampling.h"

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

const std::vector<float> kLogits = {0.5f, 2.0f, -1.0f, 2.0f, 1.0f};

std::vector<int> counts(const SamplingOptions& options, int draws) {
  std::vector<int> count(kLogits.size());
  for (int position = 0; position < draws; ++position)
    ++count[static_cast<std::size_t>(sample_token(kLogits, options, position))];
  return count;
}
std::set<std::size_t> drawn(const SamplingOptions& options) {
  std::set<std::size_t> ids;
  const std::vector<int> count = counts(options, 2000);
  for (std::size_t id = 0; id < count.size(); ++id)
    if (count[id] > 0) ids.insert(id);
  return ids;
}

TEST(Sampling, TemperatureZeroTakesTheLowestOfTheLikeliest) {
  for (int position = 0; position < 20; ++position) EXPECT_EQ(sample_token(kLogits, {.temperature = 0}, position), 1);
}

TEST(Sampling, DrawsEachTokenAsOftenAsItsProbability) {
  for (const double temperature : {0.5, 1.0, 2.0}) {
    constexpr int kDraws = 20000;
    const std::vector<int> count = counts({.temperature = temperature, .seed = 3}, kDraws);
    double total = 0;
    for (const float logit : kLogits) total += std::exp(logit / temperature);
    for (std::size_t id = 0; id < kLogits.size(); ++id) {
      const double p = std::exp(kLogits[id] / temperature) / total;
      // Five deviations of a binomial distribution.
      EXPECT_NEAR(count[id], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)));
    }
  }
}

TEST(Sampling, TopKKeepsTheLikeliestAndTheLowerIdOfEquals) {
  EXPECT_EQ(drawn({.top_k = 1}), (std::set<std::size_t>{1}));
  EXPECT_EQ(drawn({.top_k = 2}), (std::set<std::size_t>{1, 3}));
  EXPECT_EQ(drawn({.top_k = 3}), (std::set<std::size_t>{1, 3, 4}));
  EXPECT_EQ(drawn({.top_k = 50}).size(), kLogits.size());
}

TEST(Sampling, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.37, 0.37, 0.14, 0.08, 0.02 of tokens 1, 3, 4, 0, 2.
  EXPECT_EQ(drawn({.top_p = 0.3}), (std::set<std::size_t>{1}));
  EXPECT_EQ(drawn({.top_p = 0.5}), (std::set<std::size_t>{1, 3}));
  EXPECT_EQ(drawn({.top_p = 0.8}), (std::set<std::size_t>{1, 3, 4}));
  EXPECT_EQ(drawn({.top_p = 1}).size(), kLogits.size());
  EXPECT_EQ(drawn({.top_p = 1e-9}), (std::set<std::size_t>{1}));
}

TEST(Sampling, TopPCountsWhatTopKLeft) {
  // Of tokens 1 and 3, half each.
  EXPECT_EQ(drawn({.top_k = 2, .top_p = 0.4}), (std::set<std::size_t>{1}));
}

TEST(Sampling, IsAFunctionOfSeedAndPosition) {
  std::vector<std::int32_t> first, again, other;
  for (int position = 0; position < 100; ++position) {
    first.push_back(sample_token(kLogits, {.seed = 1}, position));
    other.push_back(sample_token(kLogits, {.seed = 2}, position));
  }
  for (int position = 99; position >= 0; --position)
    again.insert(again.begin(), sample_token(kLogits, {.seed = 1}, position));
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Sampling, RefusesOptionsThatMakeNoSense) {
  EXPECT_THROW(check_sampling({.temperature = -1}), UserError);
  EXPECT_THROW(check_sampling({.temperature = std::numeric_limits<double>::quiet_NaN()}), UserError);
  EXPECT_THROW(check_sampling({.temperature = std::numeric_limits<double>::infinity()}), UserError);
  EXPECT_THROW(check_sampling({.top_k = -1}), UserError);
  EXPECT_THROW(check_sampling({.top_p = 0}), UserError);
  EXPECT_THROW(check_sampling({.top_p = 1.5}), UserError);
  EXPECT_NO_THROW(check_sampling({}));
}

}  // namespace
}  // namespace trireme
