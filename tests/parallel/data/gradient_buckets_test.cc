#include "parallel/data/gradient_buckets.h"

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

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

struct How {
  std::size_t bucket_bytes = BucketPlan::kBucketBytes;
  int zero_stage = 0;
  GradientBuckets::Options options{};
};

// A rank's buckets with what they stand on.
struct Bucketed {
  Bucketed(LocalRank& self, const std::vector<ParamSpec>& specs, const How& how, Trace* trace = nullptr)
      : memory(self.allocate({kBytes / 4})),
        arena(memory.data, kBytes),
        context{&self.device(), &host_kernels(), &arena, self.compute()},
        recorded(self.comm()),
        plan(plan_buckets(specs, places_of_dp(self.size(), self.rank()), how.zero_stage, how.bucket_bytes)),
        buckets(context, plan, recorded, self.communication(), trace, how.options) {}

  static constexpr std::int64_t kBytes = 1 << 20;
  // What this rank holds of the sum: all of a bucket, padding included.
  std::vector<float> held(LocalRank& self, std::size_t bucket) {
    std::vector<float> values(static_cast<std::size_t>(plan.kept(bucket).size()));
    self.device().download(self.compute(), values.data(), buckets.reduced(bucket));
    self.device().synchronize(self.compute());
    return values;
  }
  // EXPECTs that it is `sums`, by parameter, and zero between parameters.
  void expect_held(LocalRank& self, const std::vector<std::vector<float>>& sums, const std::string& what) {
    for (std::size_t bucket = 0; bucket < plan.buckets.size(); ++bucket) {
      const BucketPlan::Range kept = plan.kept(bucket);
      std::vector<float> want(static_cast<std::size_t>(kept.size()));
      for (const BucketPlan::Run& run : plan.runs(bucket, kept))
        std::copy(sums[run.parameter].begin() + run.begin, sums[run.parameter].begin() + run.end,
                  want.begin() + run.at - kept.begin);
      EXPECT_EQ(held(self, bucket), want) << what << ", bucket " << bucket;
    }
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

TEST(LocalBuckets, EightGroupsGiveTheSameBitsOnAnyRanksAtAnyStage) {
  const std::vector<ParamSpec> specs = some_specs();
  constexpr int kGroups = 8;
  std::vector<std::vector<float>> expected;
  for (std::size_t i = 0; i < specs.size(); ++i) expected.push_back(tree_over_groups(specs[i], i, kGroups));
  for (const int ranks : {1, 2, 4, 8})
    for (const std::size_t bucket_bytes : {std::size_t{4096}, std::size_t{1} << 14, BucketPlan::kBucketBytes})
      for (const int stage : {0, 1, 2, 3}) {
        if (stage > 0 && bucket_bytes == 4096 && ranks != 4) continue;
        expect_ranks(ranks, lazy(bucket_bytes), [&](LocalRank& self) {
          const int here = kGroups / ranks;
          Bucketed rank(self, specs, {bucket_bytes, stage, {.order = Order::kExact, .groups = here}});
          for (std::int64_t step = 0; step < 2; ++step) {
            rank.buckets.begin_step(step);
            for (std::size_t i = specs.size(); i-- > 0;) {
              rank.buckets.added(i);  // of a micro-batch before
              for (int group = 0; group < here; ++group)
                self.device().upload(self.compute(), rank.buckets.gradient(i, group),
                                     group_gradient(specs[i], i, self.rank() * here + group).data());
              rank.buckets.ready(i);
            }
            rank.buckets.finish();
            rank.expect_held(self, expected, std::to_string(ranks) + " ranks, stage " + std::to_string(stage));
          }
          self.device().synchronize(self.communication());
        });
      }
}

// Integers, so that their sums are exact in any order.
std::vector<float> micro_gradient(const ParamSpec& spec, std::size_t i, int rank, int micro_batch) {
  std::vector<float> values;
  for (std::int64_t e = 0; e < spec.shape.elements(); ++e)
    values.push_back(static_cast<float>((e + static_cast<std::int64_t>(i)) % 7 * (rank + 1) + 10 * micro_batch));
  return values;
}

// Accumulates micro-batches as layers do: to += gradient, after what is there.
void accumulate(LocalRank& self, Bucketed& rank, std::size_t i, const std::vector<float>& gradient) {
  const Tensor to = rank.buckets.gradient(i);
  self.device().run(self.compute(), [to, gradient] {
    for (std::size_t e = 0; e < gradient.size(); ++e) reinterpret_cast<float*>(to.data)[e] += gradient[e];
  });
}

TEST(LocalBuckets, EveryMicroBatchIsInTheSumTheLastOneToo) {
  const std::vector<ParamSpec> specs = some_specs();
  constexpr int kMicroBatches = 3;
  for (const int ranks : {1, 2, 3})
    for (const std::size_t bucket_bytes : {std::size_t{4096}, BucketPlan::kBucketBytes})
      for (const int stage : {0, 1, 2, 3}) {
        std::vector<std::vector<float>> sums;
        for (std::size_t i = 0; i < specs.size(); ++i) {
          sums.emplace_back(static_cast<std::size_t>(specs[i].shape.elements()));
          for (int r = 0; r < ranks; ++r)
            for (int m = 0; m < kMicroBatches; ++m) {
              const std::vector<float> one = micro_gradient(specs[i], i, r, m);
              for (std::size_t e = 0; e < one.size(); ++e) sums[i][e] += one[e];
            }
        }
        expect_ranks(ranks, lazy(static_cast<std::uint64_t>(stage)), [&](LocalRank& self) {
          Bucketed rank(self, specs, {bucket_bytes, stage});
          for (std::int64_t step = 0; step < 2; ++step) {
            rank.buckets.begin_step(step);
            for (int m = 0; m < kMicroBatches; ++m)
              for (std::size_t i = specs.size(); i-- > 0;) {
                accumulate(self, rank, i, micro_gradient(specs[i], i, self.rank(), m));
                m + 1 == kMicroBatches ? rank.buckets.ready(i) : rank.buckets.added(i);
              }
            rank.buckets.finish();
            rank.expect_held(self, sums, std::to_string(ranks) + " ranks, stage " + std::to_string(stage));
          }
          self.device().synchronize(self.communication());
        });
      }
}

TEST(LocalBuckets, ABucketIsReducedAfterItsLastGradientAndNotBefore) {
  std::vector<ParamSpec> specs = some_specs();
  for (const int stage : {0, 1, 2})
    expect_ranks(2, lazy(), [&](LocalRank& self) {
      Bucketed rank(self, specs, {1 << 20, stage});  // one bucket
      ASSERT_EQ(rank.plan.buckets.size(), 1u);
      std::vector<std::vector<float>> sums;
      for (const ParamSpec& spec : specs) sums.emplace_back(static_cast<std::size_t>(spec.shape.elements()), 2.0f);
      rank.buckets.begin_step(0);
      for (const std::size_t i : {2, 0, 5, 1, 3, 4}) {  // whatever their order
        EXPECT_TRUE(rank.recorded.calls().empty());
        accumulate(self, rank, i, std::vector<float>(sums[i].size(), 1));
        rank.buckets.ready(i);
      }
      EXPECT_EQ(rank.recorded.calls().size(), 1u);
      rank.buckets.finish();
      rank.expect_held(self, sums, "stage " + std::to_string(stage));
      self.device().synchronize(self.communication());
    });
}

TEST(LocalBuckets, WhereMicroBatchesAreReducedMemoryIsThePartsAndAFewBuckets) {
  std::vector<ParamSpec> specs(40);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    specs[i].name = "parameter " + std::to_string(i);
    specs[i].shape = {1024};
    specs[i].unit = std::to_string(i);
  }
  expect_ranks(2, {}, [&](LocalRank& self) {
    Bucketed rank(self, specs, {4096, 2});
    const std::size_t kept = rank.arena.bytes_in_use();
    for (int m = 0; m < 2; ++m) {
      if (m == 0) rank.buckets.begin_step(0);
      for (std::size_t i = specs.size(); i-- > 0;) {
        rank.buckets.gradient(i);
        m == 1 ? rank.buckets.ready(i) : rank.buckets.added(i);
        EXPECT_LE(rank.arena.bytes_in_use() - kept, GradientBuckets::kInFlight * 2048 * 4);
      }
    }
    EXPECT_LE(rank.arena.peak_bytes() - kept, (GradientBuckets::kInFlight + 1) * 2048 * 4);
    EXPECT_LE(kept, specs.size() * 1024 * 4 + 256 + 256);
    rank.buckets.finish();
    EXPECT_EQ(rank.arena.bytes_in_use(), kept);
    self.device().synchronize(self.communication());
  });
}

TEST(LocalBuckets, GapsStayZeroAndAreReducedWithTheRest) {
  const std::vector<ParamSpec> specs = some_specs();
  for (const int stage : {0, 1, 2})
    expect_ranks(2, lazy(), [&](LocalRank& self) {
      Bucketed rank(self, specs, {BucketPlan::kBucketBytes, stage});
      // Garbage everywhere first: the arena's memory is undefined.
      self.device().upload(self.compute(), rank.memory,
                           std::vector<float>(Bucketed::kBytes / 4, std::numeric_limits<float>::quiet_NaN()).data());
      rank.buckets.begin_step(0);
      std::vector<std::vector<float>> twos;
      for (const ParamSpec& spec : specs) twos.emplace_back(static_cast<std::size_t>(spec.shape.elements()), 2.0f);
      for (std::size_t i = specs.size(); i-- > 0;) {
        accumulate(self, rank, i, std::vector<float>(twos[i].size(), 1));
        rank.buckets.ready(i);
      }
      rank.buckets.finish();
      rank.expect_held(self, twos, "stage " + std::to_string(stage));
      self.device().synchronize(self.communication());
    });
}

TEST(LocalBuckets, ANonFiniteGradientIsFoundOnTheRankThatMadeIt) {
  const std::vector<ParamSpec> specs = some_specs();
  for (const int stage : {0, 1, 2})
    expect_ranks(3, lazy(), [&](LocalRank& self) {
      Bucketed rank(self, specs, {4096, stage});
      for (std::int64_t step = 5; step < 7; ++step) {  // in the second all is well
        rank.buckets.begin_step(step);
        for (int m = 0; m < 2; ++m)
          for (std::size_t i = specs.size(); i-- > 0;) {
            std::vector<float> values(static_cast<std::size_t>(specs[i].shape.elements()), 1);
            const bool now = step == 5 && m == 0;
            if (now && self.rank() == 1 && i == 2) values.back() = std::numeric_limits<float>::infinity();
            if (now && self.rank() == 2 && i == 3) values.back() = std::numeric_limits<float>::quiet_NaN();
            accumulate(self, rank, i, values);
            m == 1 ? rank.buckets.ready(i) : rank.buckets.added(i);
          }
        rank.buckets.finish();
        const std::vector<std::int32_t> own = read<std::int32_t>(self, rank.buckets.own_nonfinite());
        std::vector<std::int32_t> want(specs.size());
        if (step == 5 && self.rank() > 0) want[self.rank() == 1 ? 2 : 3] = 1;
        EXPECT_EQ(own, want) << "stage " << stage;
        bool finite = true;
        for (std::size_t bucket = 0; bucket < rank.plan.buckets.size(); ++bucket)
          for (const float value : rank.held(self, bucket)) finite &= std::isfinite(value);
        if (stage == 0) {
          EXPECT_EQ(finite, step == 6);
        }
      }
      self.device().synchronize(self.communication());
    });
}

TEST(LocalBuckets, TheShapeOnlyPassMakesTheCallsOfTheRun) {
  const std::vector<ParamSpec> specs = some_specs();
  for (const int stage : {0, 1, 2}) {
    const auto step = [&](GradientBuckets& buckets) {
      buckets.begin_step(4);
      for (int m = 0; m < 2; ++m)
        for (std::size_t i = specs.size(); i-- > 0;) {
          buckets.gradient(i);
          m == 1 ? buckets.ready(i) : buckets.added(i);
        }
      buckets.finish();
    };
    ShapeOnlyDevice device;
    Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
    Context context{&device, &shape_only_kernels(), &arena, {}};
    RecordingCommunicator planned(0, 2);
    {
      GradientBuckets plan(context, plan_buckets(specs, places_of_dp(2, 0), stage, 8192), planned, {}, nullptr, {});
      step(plan);
    }
    EXPECT_EQ(planned.calls().size(), stage < 2 ? 4u : 8u);
    EXPECT_EQ(planned.calls().front().op, stage == 0 ? "all_reduce" : "reduce_scatter");
    EXPECT_THAT(planned.calls().front().tensor, HasSubstr("parameter 5"));
    expect_ranks(2, lazy(), [&](LocalRank& self) {
      Bucketed rank(self, specs, {8192, stage});
      step(rank.buckets);
      self.device().synchronize(self.compute());
      EXPECT_EQ(rank.recorded.calls(), planned.calls());
      EXPECT_EQ(rank.arena.peak_bytes(), arena.peak_bytes());
    });
  }
}

TEST(LocalBuckets, EachReductionAndTheWaitForItAreSpansOfItsStepInTheTrace) {
  const std::vector<ParamSpec> specs = some_specs();
  Trace trace(0);
  expect_ranks(1, {}, [&](LocalRank& self) {
    Bucketed rank(self, specs, {4096}, &trace);
    rank.buckets.begin_step(9);
    for (std::size_t i = specs.size(); i-- > 0;) rank.buckets.ready(i);
    rank.buckets.finish();
    self.device().synchronize(self.communication());
    std::map<std::string, std::vector<std::string>> names;  // by track
    for (const TraceEvent& span : trace.events()) {
      names[span.track].push_back(span.name);
      EXPECT_EQ(span.step, 9);
    }
    std::vector<std::string> reductions, waits;
    for (const RecordedCall& call : rank.recorded.calls()) {
      if (call.op != "all_reduce") continue;
      reductions.push_back("reduce " + call.tensor);
      waits.push_back(call.tensor);
    }
    EXPECT_EQ(names["communication"], reductions);
    EXPECT_EQ(names["waits for peers"], waits);
    EXPECT_EQ(names.size(), 2u);
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
  EXPECT_DEATH(buckets.gradient(0), "outside of a step");
  buckets.begin_step(0);
  buckets.ready(5);
  EXPECT_DEATH(buckets.ready(5), "ready twice");
  EXPECT_DEATH(buckets.finish(), "was never ready");
  EXPECT_DEATH(buckets.begin_step(1), "before step 0 is finished");
}

}  // namespace
}  // namespace trireme
