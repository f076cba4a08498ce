#include "parallel/data/gradient_buckets.h"

#include <cmath>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/core/shape_only.h"
#include "cuda/host/host_device.h"
#include "cuda/ops/shape_only.h"
#include "parallel/comm/recording.h"
#include "parallel/data/bucket_plan.h"
#include "tests/parallel/comm/tree_reference.h"
#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<ParamSpec> some_specs() {
  std::vector<ParamSpec> specs(6);
  const Shape shapes[] = {{50, 64}, {64}, {3, 5, 64}, {1}, {1024}, {2, 700}};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    specs[i].name = "parameter " + std::to_string(i);
    specs[i].shape = shapes[i];
  }
  return specs;
}

// The gradient that group `group` of all groups gives parameter `i`, as a function of both alone.
std::vector<float> group_gradient(const ParamSpec& spec, std::size_t i, int group) {
  return uneven_values(static_cast<std::size_t>(spec.shape.elements()), 1000 * i + static_cast<std::size_t>(group));
}

std::vector<float> tree_over_groups(const ParamSpec& spec, std::size_t i, int groups) {
  std::vector<std::vector<float>> all;
  for (int group = 0; group < groups; ++group) all.push_back(group_gradient(spec, i, group));
  std::vector<float> sum, column(all.size());
  for (std::size_t e = 0; e < all[0].size(); ++e) {
    for (std::size_t group = 0; group < column.size(); ++group) column[group] = all[group][e];
    sum.push_back(tree_sum(column.data(), column.size()));
  }
  return sum;
}

AxisPlaces places_of_dp(int ranks, int rank) {
  AxisPlaces places;
  places[Axis::kDp] = {ranks, rank};
  return places;
}

// A rank's buckets with what they stand on.
struct Bucketed {
  Bucketed(LocalRank& self, const std::vector<ParamSpec>& specs, std::size_t bucket_bytes,
           GradientBuckets::Options options = {}, Trace* trace = nullptr)
      : memory(made(self)),
        arena(memory.data, kBytes),
        context{&self.device(), &host_kernels(), &arena, self.compute()},
        recorded(self.comm()),
        plan(plan_buckets(specs, places_of_dp(self.size(), self.rank()), bucket_bytes)),
        buckets(context, plan, recorded, self.communication(), trace, options) {}

  static constexpr std::int64_t kBytes = 1 << 20;
  // Zeros are uploaded on the communication stream, which the compute stream does not wait for.
  static Tensor made(LocalRank& self) {
    const Tensor memory = self.zeros({kBytes / 4});
    self.device().synchronize(self.communication());
    return memory;
  }
  Tensor memory;
  Arena arena;
  Context context;
  RecordingCommunicator recorded;
  BucketPlan plan;
  GradientBuckets buckets;
};

LocalRun lazy(std::uint64_t seed = 3) {
  LocalRun run;
  run.options.streams = StreamMode::kLazy;
  run.options.shuffle_seed = seed;
  run.options.guard_memory = true;
  return run;
}

template <class T>
std::vector<T> read(LocalRank& self, const Tensor& from) {
  std::vector<T> values(from.bytes() / sizeof(T));
  self.device().download(self.compute(), values.data(), from);
  self.device().synchronize(self.compute());
  return values;
}

TEST(LocalBuckets, EightGroupsGiveTheSameBitsOnOneTwoFourAndEightRanks) {
  const std::vector<ParamSpec> specs = some_specs();
  constexpr int kGroups = 8;
  std::vector<std::vector<float>> expected;
  for (std::size_t i = 0; i < specs.size(); ++i) expected.push_back(tree_over_groups(specs[i], i, kGroups));
  for (int ranks : {1, 2, 4, 8})
    for (std::size_t bucket_bytes : {std::size_t{4096}, std::size_t{1} << 14, BucketPlan::kBucketBytes})
      expect_ranks(ranks, lazy(bucket_bytes), [&](LocalRank& self) {
        const int here = kGroups / ranks;
        Bucketed rank(self, specs, bucket_bytes, {.groups = here});
        for (std::int64_t step = 0; step < 2; ++step) {
          rank.buckets.begin_step(step);
          for (std::size_t i = specs.size(); i-- > 0;) {
            for (int group = 0; group < here; ++group)
              self.device().upload(self.compute(), rank.buckets.gradient(i, group),
                                   group_gradient(specs[i], i, self.rank() * here + group).data());
            rank.buckets.ready(i);
          }
          rank.buckets.finish();
          for (std::size_t i = 0; i < specs.size(); ++i)
            EXPECT_EQ(read<float>(self, rank.buckets.reduced()[i]), expected[i]) << ranks << " ranks, " << i;
        }
        self.device().synchronize(self.communication());
      });
}

TEST(LocalBuckets, GapsStayZeroAndAreReducedWithTheRest) {
  const std::vector<ParamSpec> specs = some_specs();
  expect_ranks(2, lazy(), [&](LocalRank& self) {
    Bucketed rank(self, specs, BucketPlan::kBucketBytes);
    // Garbage everywhere first: the arena's memory is undefined.
    self.device().upload(self.compute(), rank.memory,
                         std::vector<float>(Bucketed::kBytes / 4, std::numeric_limits<float>::quiet_NaN()).data());
    rank.buckets.begin_step(0);
    for (std::size_t i = specs.size(); i-- > 0;) {
      const std::vector<float> ones(static_cast<std::size_t>(specs[i].shape.elements()), 1);
      self.device().upload(self.compute(), rank.buckets.gradient(i), ones.data());
      rank.buckets.ready(i);
    }
    rank.buckets.finish();
    const BucketPlan& plan = rank.plan;
    const Tensor first = rank.buckets.reduced().back();  // the last parameter lies in the first bucket
    const std::byte* base = first.data - plan.parameters.back().begin * 4;
    const std::vector<float> all = read<float>(self, {const_cast<std::byte*>(base), DType::kF32, {plan.elements}});
    std::vector<float> wanted(all.size(), 0);
    for (std::size_t i = 0; i < specs.size(); ++i)
      std::fill_n(wanted.begin() + plan.parameters[i].begin, specs[i].shape.elements(), 2.0f);
    EXPECT_EQ(all, wanted);
  });
}

TEST(LocalBuckets, ANonFiniteGradientIsFoundOnTheRankThatMadeIt) {
  const std::vector<ParamSpec> specs = some_specs();
  expect_ranks(3, lazy(), [&](LocalRank& self) {
    Bucketed rank(self, specs, 4096);
    rank.buckets.begin_step(5);
    for (std::size_t i = specs.size(); i-- > 0;) {
      std::vector<float> values(static_cast<std::size_t>(specs[i].shape.elements()), 1);
      if (self.rank() == 1 && i == 2) values.back() = std::numeric_limits<float>::infinity();
      if (self.rank() == 2 && i == 3) values.back() = std::numeric_limits<float>::quiet_NaN();
      self.device().upload(self.compute(), rank.buckets.gradient(i), values.data());
      rank.buckets.ready(i);
    }
    rank.buckets.finish();
    EXPECT_THAT(read<std::int32_t>(self, rank.buckets.all_nonfinite()), ElementsAre(0, 0, 0, 0, 0, 0,  //
                                                                                    0, 0, 1, 0, 0, 0,  //
                                                                                    0, 0, 0, 1, 0, 0));
    const std::vector<std::int32_t> own = read<std::int32_t>(self, rank.buckets.own_nonfinite());
    EXPECT_EQ(std::accumulate(own.begin(), own.end(), 0), self.rank() == 0 ? 0 : 1);
    EXPECT_TRUE(std::isinf(read<float>(self, rank.buckets.reduced()[2]).back()));
  });
}

TEST(LocalBuckets, TheShapeOnlyPassMakesTheCallsOfTheRun) {
  const std::vector<ParamSpec> specs = some_specs();
  const GradientBuckets::Options options{.groups = 2};
  const auto step = [&](GradientBuckets& buckets) {
    buckets.begin_step(4);
    for (std::size_t i = specs.size(); i-- > 0;) buckets.ready(i);
    buckets.finish();
  };
  ShapeOnlyDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{&device, &shape_only_kernels(), &arena, {}};
  RecordingCommunicator planned(0, 2);
  GradientBuckets plan(context, plan_buckets(specs, places_of_dp(2, 0), 8192), planned, {}, nullptr, options);
  step(plan);
  EXPECT_GT(planned.calls().size(), 2u);
  EXPECT_THAT(planned.calls().front().tensor, HasSubstr("parameter 5"));
  expect_ranks(2, lazy(), [&](LocalRank& self) {
    Bucketed rank(self, specs, 8192, options);
    step(rank.buckets);
    self.device().synchronize(self.compute());
    EXPECT_EQ(rank.recorded.calls(), planned.calls());
    EXPECT_EQ(rank.arena.peak_bytes(), arena.peak_bytes());
  });
}

TEST(LocalBuckets, EachReductionIsASpanOfItsStepInTheTrace) {
  const std::vector<ParamSpec> specs = some_specs();
  Trace trace(0);
  expect_ranks(1, {}, [&](LocalRank& self) {
    Bucketed rank(self, specs, 4096, {}, &trace);
    rank.buckets.begin_step(9);
    for (std::size_t i = specs.size(); i-- > 0;) rank.buckets.ready(i);
    rank.buckets.finish();
    self.device().synchronize(self.communication());
    const auto spans = trace.events();
    std::size_t reductions = 0;
    for (const RecordedCall& call : rank.recorded.calls()) reductions += call.op == "all_reduce";
    ASSERT_EQ(spans.size(), reductions);
    for (std::size_t i = 0; i < spans.size(); ++i) {
      EXPECT_EQ(spans[i].track, "communication");
      EXPECT_EQ(spans[i].name, "reduce " + rank.recorded.calls()[i].tensor);
      EXPECT_EQ(spans[i].step, 9);
    }
  });
}

using LocalBucketsDeathTest = testing::Test;

TEST(LocalBucketsDeathTest, AParameterIsReadyExactlyOnceAStep) {
  const std::vector<ParamSpec> specs = some_specs();
  ShapeOnlyDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{&device, &shape_only_kernels(), &arena, {}};
  RecordingCommunicator dp(0, 1);
  GradientBuckets buckets(context, plan_buckets(specs, {}), dp, {}, nullptr, {});
  EXPECT_DEATH(buckets.ready(0), "outside of a step");
  buckets.begin_step(0);
  buckets.ready(5);
  EXPECT_DEATH(buckets.ready(5), "ready twice");
  EXPECT_DEATH(buckets.finish(), "was never ready");
  EXPECT_DEATH(buckets.begin_step(1), "before step 0 is finished");
}

}  // namespace
}  // namespace trireme
