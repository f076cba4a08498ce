#include "trainer/optim/gradient_norm.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "tests/trainer/test_rank.h"

namespace trireme {
namespace {

std::vector<ParamSpec> some_specs() {
  const Shape shapes[] = {{50, 64}, {64}, {1}, {3, 700}, {1024}, {50, 64}};
  std::vector<ParamSpec> specs(6);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    specs[i].name = "p" + std::to_string(i);
    specs[i].unit = "unit " + std::to_string(i / 2);
    specs[i].shape = shapes[i];
  }
  specs[5].unit = "tied";
  specs[5].tied_to = "p0";
  return specs;
}

double value_of(std::size_t parameter, std::int64_t element) {
  std::mt19937_64 random(1000 * parameter + static_cast<std::size_t>(element));
  return static_cast<float>(std::normal_distribution<double>(0, 2)(random));
}

// The norm over dp ranks, of gradients that are value_of, with `padding` wherever no parameter lies and in the tied
// one.
float norm_of(int dp, int zero_stage, Order order, double padding) {
  std::vector<float> norms(static_cast<std::size_t>(dp));
  run_as_ranks(dp, [&](LocalGroup& group, int rank) {
    TestRank self(group, rank, {.streams = StreamMode::kLazy, .shuffle_seed = 7, .guard_memory = true}, 1 << 20);
    AxisPlaces places;
    places[Axis::kDp] = {dp, rank};
    const std::vector<ParamSpec> specs = some_specs();
    const Parameters parameters(self.context(), specs, DType::kF32,
                                {places, zero_stage, {&self.peers(), self.communication(), nullptr}});
    GradientBuckets buckets(self.context(), parameters.plan(), self.peers(), self.communication(), nullptr,
                            {.order = order});
    buckets.begin_step(1);
    for (std::size_t i = specs.size(); i-- > 0;) buckets.ready(i);
    buckets.finish();
    for (std::size_t b = 0; b < parameters.plan().buckets.size(); ++b) {
      const BucketPlan::Range kept = parameters.plan().kept(b);
      std::vector<double> values(static_cast<std::size_t>(kept.size()), padding);
      for (const BucketPlan::Run& run : parameters.plan().runs(b, kept))
        for (std::int64_t e = run.begin; e < run.end; ++e)
          if (specs[run.parameter].tied_to.empty())
            values[static_cast<std::size_t>(run.at + e - run.begin - kept.begin)] = value_of(run.parameter, e);
      self.write(buckets.reduced(b), values);
    }
    const GradientNorm norm(self.context(), parameters, specs, self.peers(), self.communication(), order);
    const ArenaTensor sums = norm.sums(buckets, 1);
    const ArenaTensor scalars[] = {self.context().arena->allocate({1}, DType::kF32, "norm"),
                                   self.context().arena->allocate({1}, DType::kF32, "clip"),
                                   self.context().arena->allocate({1}, DType::kI32, "skip"),
                                   self.context().arena->allocate({1}, DType::kI64, "applied"),
                                   self.context().arena->allocate({1}, DType::kF32, "factor"),
                                   self.context().arena->allocate({1}, DType::kF32, "scale"),
                                   self.context().arena->allocate({1}, DType::kI64, "good")};
    for (const int zero : {3, 6}) self.context().ops->fill(self.context().compute, scalars[zero], 0);
    self.context().ops->fill(self.context().compute, scalars[5], 1);
    self.context().ops->decide_step(self.context().compute,
                                    {.norm = scalars[0],
                                     .clip = scalars[1],
                                     .factor = scalars[4],
                                     .skip = scalars[2],
                                     .applied = scalars[3],
                                     .scale = scalars[5],
                                     .good = scalars[6]},
                                    sums, 1, LossScale());
    norms[static_cast<std::size_t>(rank)] = static_cast<float>(self.read(scalars[0])[0]);
  });
  for (const float norm : norms) EXPECT_EQ(norm, norms[0]);
  return norms[0];
}

TEST(GradientNorm, CountsEachElementOnceAndNeitherPaddingNorReplicasAtAnyStage) {
  double squares = 0;
  const std::vector<ParamSpec> specs = some_specs();
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].tied_to.empty()) continue;
    for (std::int64_t e = 0; e < specs[i].shape.elements(); ++e) squares += value_of(i, e) * value_of(i, e);
    blocks += (specs[i].shape.elements() + 1023) / 1024;
  }
  const double want = std::sqrt(squares);
  // Positive terms: 1024 squares a block and then the blocks, in any order; the square root halves it and adds one.
  const double bound = (1024 + static_cast<double>(blocks) + 3) * 0x1p-24 / 2 * want + 0x1p-24 * want;
  for (const Order order : {Order::kFast, Order::kExact}) {
    const float alone = norm_of(1, 0, order, 0);
    EXPECT_NEAR(alone, want, bound);
    for (const int dp : {1, 2, 3, 4})
      for (const int stage : {0, 1, 2, 3}) {
        const float norm = norm_of(dp, stage, order, 1e3);
        EXPECT_NEAR(norm, want, bound) << dp << " ranks, stage " << stage;
        if (order == Order::kExact) {
          EXPECT_EQ(norm, alone) << dp << " ranks, stage " << stage;
        }
      }
  }
}

}  // namespace
}  // namespace trireme
