#include "dataloader/prepare/ordered_pipeline.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace trireme {
namespace {

// Items 0 to count - 1; every seventh one is slow.
template <class Transform>
std::vector<int> run(int workers, int count, Transform transform) {
  std::vector<int> seen;
  int next = 0;
  run_in_order(
      workers, 10, [&]() -> std::optional<int> { return next < count ? std::optional(next++) : std::nullopt; },
      [](int) { return std::size_t{1}; },
      [&](int, int item) {
        if (item % 7 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return transform(item);
      },
      [&](int result) { seen.push_back(result); });
  return seen;
}

TEST(OrderedPipeline, KeepsTheOrderWithAnyNumberOfWorkers) {
  for (const int workers : {1, 2, 5}) {
    const std::vector<int> seen = run(workers, 100, [](int item) { return 2 * item; });
    ASSERT_EQ(seen.size(), 100u);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], 2 * i);
  }
}

TEST(OrderedPipeline, EndsWithoutItems) {
  EXPECT_TRUE(run(3, 0, [](int item) { return item; }).empty());
}

TEST(OrderedPipeline, ThrowsTheErrorOfTheEarliestItemAfterAllBeforeIt) {
  std::atomic<int> done{0};
  int consumed = 0;
  int next = 0;
  try {
    run_in_order(
        4, 100,
        [&]() -> std::optional<int> {
          if (next == 60) throw std::runtime_error("reader");
          return next++;
        },
        [](int) { return std::size_t{1}; },
        [&](int, int item) {
          if (item == 21) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the later error comes first
          if (item == 21 || item == 40) throw std::runtime_error("item " + std::to_string(item));
          ++done;
          return item;
        },
        [&](int) { ++consumed; });
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "item 21");
  }
  EXPECT_EQ(consumed, 21);
}

TEST(OrderedPipeline, HoldsNoMoreThanItsBudgetAndOneHeavyItemAlone) {
  const std::size_t budget = 10;
  std::atomic<std::size_t> held{0};
  std::size_t most = 0, heavy_beside = 0;
  int next = 0;
  run_in_order(
      3, budget, [&]() -> std::optional<int> { return next < 200 ? std::optional(next++) : std::nullopt; },
      [](int item) { return item % 50 == 49 ? std::size_t{25} : std::size_t{3}; },
      [&](int, int item) {
        held += item % 50 == 49 ? 25 : 3;
        return item;
      },
      [&](int item) {
        const std::size_t weight = item % 50 == 49 ? 25 : 3;
        (weight > budget ? heavy_beside : most) = std::max(weight > budget ? heavy_beside : most, held.load());
        held -= weight;
      });
  EXPECT_LE(most, budget);
  EXPECT_EQ(heavy_beside, 25u);
}

TEST(OrderedPipeline, LetsTheConsumerStopEverything) {
  int consumed = 0;
  int next = 0;
  EXPECT_THROW(run_in_order(
                   2, 4, [&]() -> std::optional<int> { return next++; }, [](int) { return std::size_t{1}; },
                   [](int, int item) { return item; },
                   [&](int) {
                     if (++consumed == 5) throw std::runtime_error("stop");
                   }),
               std::runtime_error);
  EXPECT_EQ(consumed, 5);
}

}  // namespace
}  // namespace trireme
