#include "dataloader/order/sample_order.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"

namespace trireme {

RC_GTEST_PROP(SampleOrder, AnEpochVisitsEachWindowOnceAndNoTokenIsATargetTwice, ()) {
  const auto length = *rc::gen::inRange<std::int64_t>(1, 20);
  const auto tokens = *rc::gen::inRange<std::uint64_t>(static_cast<std::uint64_t>(length) + 1, 2000);
  const SampleOrder order(tokens, length, *rc::gen::arbitrary<std::uint64_t>());
  const std::int64_t windows = order.samples_per_epoch();
  RC_ASSERT(windows == static_cast<std::int64_t>(tokens) / length);
  const auto epoch = *rc::gen::inRange<std::int64_t>(0, 5);
  std::set<std::int64_t> seen;
  std::vector<int> target(tokens);
  for (std::int64_t i = epoch * windows; i < (epoch + 1) * windows; ++i) {
    const Sample sample = order.sample(i);
    RC_ASSERT(sample.epoch == epoch);
    RC_ASSERT(sample.begin < tokens);
    RC_ASSERT(seen.insert(sample.window).second);
    for (std::int64_t t = 1; t <= length; ++t)
      RC_ASSERT(++target[(sample.begin + static_cast<std::uint64_t>(t)) % tokens] == 1);
  }
  RC_ASSERT(static_cast<std::int64_t>(seen.size()) == windows);
}

TEST(SampleOrder, EpochsAndSeedsDifferInOrderAndInOrigin) {
  const SampleOrder order(100'000, 100, 1), other(100'000, 100, 2);
  const std::int64_t windows = order.samples_per_epoch();
  int same_window = 0, same_begin = 0;
  for (std::int64_t i = 0; i < windows; ++i) {
    same_window += order.sample(i).window == order.sample(i + windows).window;
    same_window += order.sample(i).window == other.sample(i).window;
    same_begin += order.sample(i).begin % 100 == order.sample(i + windows).begin % 100;
  }
  EXPECT_LE(same_window, 16);  // Poisson(2): more than 16 has probability below 1e-9
  EXPECT_EQ(same_begin, 0);    // the origins differ modulo the sequence length for this seed
}

TEST(SampleOrder, TheOrderIsPartOfTheFormatAndNeverChanges) {
  // A run that is resumed by a later version must go on in the same order. These values were computed once.
  const SampleOrder order(1'000'003, 128, 42);
  const std::vector<Sample> expected = {{0, 5799, 140823}, {0, 1300, 564954}, {1, 6137, 519903}};
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(order.sample(static_cast<std::int64_t>(i) * 5000), expected[i])
        << order.sample(static_cast<std::int64_t>(i) * 5000).epoch << ", "
        << order.sample(static_cast<std::int64_t>(i) * 5000).window << ", "
        << order.sample(static_cast<std::int64_t>(i) * 5000).begin;
}

TEST(SampleOrder, ASplitShorterThanASampleIsTheUsersMistake) {
  EXPECT_THROW(SampleOrder(128, 128, 0), UserError);
  EXPECT_EQ(SampleOrder(129, 128, 0).samples_per_epoch(), 1);
}

}  // namespace trireme
