#include "parallel/data/value_buckets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "parallel/comm/recording.h"
#include "tests/parallel/comm/tree_reference.h"
#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Three units of one parameter each; the third is tied to the first.
std::vector<ParamSpec> some_specs() {
  const Shape shapes[] = {{70, 64}, {3, 700}, {70, 64}};
  std::vector<ParamSpec> specs(3);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    specs[i].name = "p" + std::to_string(i);
    specs[i].unit = "unit " + std::to_string(i);
    specs[i].shape = shapes[i];
  }
  specs[2].tied_to = "p0";
  return specs;
}

constexpr std::size_t kUnits[] = {0, 1};

struct Held {
  Held(LocalRank& rank, int zero_stage)
      : self(rank),
        memory(rank.allocate({kBytes / 4})),
        arena(memory.data, kBytes),
        context{&rank.device(), &host_kernels(), &arena, rank.compute()},
        recorded(rank.comm()),
        values(context, plan_buckets(some_specs(), at(rank), zero_stage), DType::kF32,
               {&recorded, rank.communication(), nullptr}) {}
  static AxisPlaces at(LocalRank& rank) {
    AxisPlaces places;
    places[Axis::kDp] = {rank.size(), rank.rank()};
    return places;
  }

  static float value_of(std::int64_t at, std::int64_t step) { return static_cast<float>(at + 100000 * step); }

  // What an optimizer does: element i of the whole becomes value_of(i, step), on the rank that updates it.
  void update(std::int64_t step) {
    values.settle();
    for (std::size_t bucket = 0; bucket < values.plan().buckets.size(); ++bucket) {
      if (!values.plan().units[values.plan().buckets[bucket].unit].valued) continue;
      std::vector<float> mine;
      const BucketPlan::Range kept = values.plan().kept(bucket);
      for (std::int64_t i = kept.begin; i < kept.end; ++i) mine.push_back(value_of(i, step));
      self.device().upload(self.compute(), values.kept(bucket), mine.data());
    }
    values.written(step);
  }
  void expect_values(std::size_t parameter, std::int64_t step) {
    const Tensor value = values.value(parameter);
    EXPECT_EQ(value.shape, some_specs()[parameter].shape);
    std::vector<float> got(static_cast<std::size_t>(value.elements()));
    self.device().download(self.compute(), got.data(), value);
    self.device().synchronize(self.compute());
    std::vector<float> want;
    for (std::size_t i = 0; i < got.size(); ++i)
      want.push_back(value_of(values.plan().parameters[parameter].begin + static_cast<std::int64_t>(i), step));
    EXPECT_EQ(got, want) << "parameter " << parameter << ", step " << step;
  }

  static constexpr std::int64_t kBytes = 1 << 18;
  LocalRank& self;
  Tensor memory;
  Arena arena;
  Context context;
  RecordingCommunicator recorded;
  ValueBuckets values;
};

LocalRun lazy(std::uint64_t seed) {
  LocalRun run;
  run.options = {.streams = StreamMode::kLazy, .shuffle_seed = seed, .guard_memory = true};
  return run;
}

TEST(LocalValues, WhoHoldsAUnitSeesEveryRanksUpdateAtAnyStage) {
  for (const int stage : {0, 1, 2, 3})
    for (const int ranks : {1, 2, 3})
      expect_ranks(ranks, lazy(static_cast<std::uint64_t>(10 * stage + ranks)), [&](LocalRank& self) {
        Held held(self, stage);
        for (std::int64_t step = 1; step <= 3; ++step) {
          held.update(step);
          for (const std::size_t unit : {0, 1, 1, 0}) {
            held.values.hold({&kUnits[unit], 1});
            held.values.expect({&kUnits[1 - unit], 1});
            held.expect_values(unit, step);
            held.values.release({&kUnits[unit], 1});
          }
        }
        self.device().synchronize(self.compute());
      });
}

TEST(LocalValues, StageThreeHoldsTheUnitsInUseAndNoMore) {
  expect_ranks(2, {}, [&](LocalRank& self) {
    Held held(self, 3);
    held.update(1);
    const auto gathered = [&] { return held.arena.bytes_in_use() - held.values.plan().valued_elements / 2 * 4; };
    const std::size_t first = held.values.plan().buckets[2].range.size() * 4;  // buckets go from the last unit on
    const std::size_t second = held.values.plan().buckets[1].range.size() * 4;
    EXPECT_EQ(gathered(), 0);
    held.values.hold({&kUnits[0], 1});
    EXPECT_EQ(gathered(), first);
    held.values.expect({&kUnits[1], 1});
    EXPECT_EQ(gathered(), first + second);
    held.values.release({&kUnits[0], 1});
    EXPECT_EQ(gathered(), second);
    held.values.hold({&kUnits[1], 1});
    held.values.release({&kUnits[1], 1});
    EXPECT_EQ(gathered(), 0);
    self.device().synchronize(self.compute());
  });
}

TEST(LocalValues, EachUnitTravelsOnceAnUpdateOrOnceAUse) {
  const auto calls = [&](int stage) {
    std::vector<std::string> made;
    expect_ranks(2, {}, [&](LocalRank& self) {
      Held held(self, stage);
      held.update(1);
      for (const std::size_t unit : {0, 1, 0}) {
        held.values.hold({&kUnits[unit], 1});
        held.values.release({&kUnits[unit], 1});
      }
      self.device().synchronize(self.compute());
      if (self.rank() == 0)
        for (const RecordedCall& call : held.recorded.calls()) made.push_back(call.op + " " + call.tensor);
    });
    return made;
  };
  EXPECT_THAT(calls(0), IsEmpty());
  EXPECT_THAT(calls(2), ElementsAre("all_gather values of unit 0", "all_gather values of unit 1"));
  EXPECT_THAT(calls(3),
              ElementsAre("all_gather values of unit 0", "all_gather values of unit 1", "all_gather values of unit 0"));
}

TEST(LocalValuesDeathTest, ValuesAreUsedOnlyWhileTheyAreHeld) {
  expect_ranks(1, {}, [&](LocalRank& self) {
    Held held(self, 3);
    held.update(1);
    EXPECT_DEATH(held.values.value(0), "p0 is used without a hold of values of unit 0");
    held.values.hold({&kUnits[0], 1});
    EXPECT_DEATH(held.values.value(1), "without a hold");
    EXPECT_DEATH(held.values.written(2), "written while they are held");
    held.values.release({&kUnits[0], 1});
    EXPECT_DEATH(held.values.release({&kUnits[0], 1}), "not held");
    self.device().synchronize(self.compute());
  });
}

}  // namespace
}  // namespace trireme
