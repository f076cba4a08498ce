#include "dataloader/batch/plan.h"

#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace trireme {

RC_GTEST_PROP(BatchPlan, AnyNumberOfRanksTakesEachSampleOnceInTheOrderOfOneRank, ()) {
  const auto global_batch = *rc::gen::inRange<std::int64_t>(1, 100);
  const auto dp = *rc::gen::inRange<std::int64_t>(1, global_batch + 1);
  const auto micro_batch = *rc::gen::inRange<std::int64_t>(1, 30);
  std::int64_t expected = 0;
  for (std::int64_t step = 0; step < 3; ++step) {
    for (std::int64_t rank = 0; rank < dp; ++rank) {
      const BatchPlan plan{global_batch, micro_batch, dp, rank};
      RC_ASSERT(plan.cursor(step) == step * global_batch);
      RC_ASSERT(plan.micro_batches() >= 1);
      RC_ASSERT(plan.micro_batches() == (BatchPlan{global_batch, micro_batch, dp, 0}).micro_batches());
      if (global_batch % dp == 0) {
        RC_ASSERT(plan.rank_range(step).size() == global_batch / dp);
        RC_ASSERT(plan.rank_range(step).begin == step * global_batch + rank * (global_batch / dp));
      }
      for (std::int64_t m = 0; m < plan.micro_batches(); ++m) {
        const SampleRange range = plan.micro_range(step, m);
        RC_ASSERT(range.begin == expected);
        RC_ASSERT(range.size() >= (m + 1 < plan.micro_batches() ? 1 : 0));
        RC_ASSERT(range.size() <= micro_batch);
        expected = range.end;
      }
    }
    RC_ASSERT(expected == (step + 1) * global_batch);
  }
}

}  // namespace trireme
