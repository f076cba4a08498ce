#include "parallel/data/bucket_plan.h"

#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace trireme {
namespace {

using testing::ElementsAre;

ParamSpec spec_of(const std::string& name, const Shape& shape, const std::string& unit = "") {
  ParamSpec spec;
  spec.name = name;
  spec.shape = shape;
  spec.unit = unit;
  return spec;
}

AxisPlaces at(std::int64_t dp, std::int64_t dp_index, std::int64_t tp = 1, std::int64_t tp_index = 0) {
  AxisPlaces places;
  places[Axis::kDp] = {dp, dp_index};
  places[Axis::kTp] = {tp, tp_index};
  return places;
}

// Up to 12 parameters in up to 12 units, some cut by tensor parallelism.
std::vector<ParamSpec> any_specs() {
  std::vector<ParamSpec> specs;
  const int count = *rc::gen::inRange(1, 13);
  int unit = 0;
  for (int i = 0; i < count; ++i) {
    Shape shape;
    shape.append(*rc::gen::inRange<std::int64_t>(1, 40));
    if (*rc::gen::arbitrary<bool>()) shape.append(*rc::gen::inRange<std::int64_t>(1, 200));
    unit += *rc::gen::arbitrary<bool>();
    specs.push_back(spec_of("p" + std::to_string(i), shape, "u" + std::to_string(unit)));
    if (*rc::gen::arbitrary<bool>()) specs.back().cuts = {{0, Axis::kTp}};
  }
  return specs;
}

TEST(BucketPlan, BucketsFollowTheBackwardPassAndCoverEachParameterOnce) {
  const std::vector<ParamSpec> specs = {spec_of("a", {3000}), spec_of("b", {10}),    spec_of("c", {1024}),
                                        spec_of("d", {1025}), spec_of("e", {70000}), spec_of("f", {1})};
  const BucketPlan plan = plan_buckets(specs, {}, 0, 4096 * sizeof(float));
  std::vector<std::pair<std::size_t, std::size_t>> parameters;
  for (const BucketPlan::Bucket& bucket : plan.buckets) parameters.emplace_back(bucket.first, bucket.last);
  EXPECT_THAT(parameters, ElementsAre(std::pair(5, 6), std::pair(4, 5), std::pair(1, 4), std::pair(0, 1)));
  EXPECT_EQ(plan.units.size(), 1u);
}

TEST(BucketPlan, ABucketNeverSpansTwoUnits) {
  const std::vector<ParamSpec> specs = {spec_of("table", {4, 3}, "tokens"), spec_of("a", {5}, "layers.0"),
                                        spec_of("b", {6}, "layers.0"), spec_of("c", {5000}, "layers.1"),
                                        spec_of("d", {3}, "layers.1")};
  const BucketPlan plan = plan_buckets(specs, {}, 0, 4096 * sizeof(float));
  std::vector<std::string> units;
  for (const BucketPlan::Bucket& bucket : plan.buckets)
    units.push_back(plan.units[bucket.unit].name + ": " + plan.parameters[bucket.first].name + " to " +
                    plan.parameters[bucket.last - 1].name);
  EXPECT_THAT(units, ElementsAre("layers.1: d to d", "layers.1: c to c", "layers.0: a to b", "tokens: table to table"));
}

RC_GTEST_PROP(BucketPlan, TheRanksPartsAreEqualAndCoverEachElementOfEachParameterOnce, ()) {
  const std::vector<ParamSpec> specs = any_specs();
  const auto dp = *rc::gen::inRange<std::int64_t>(1, 6);
  const auto tp = *rc::gen::inRange<std::int64_t>(1, 4);
  const auto tp_index = *rc::gen::inRange<std::int64_t>(0, tp);
  const BucketPlan plan = plan_buckets(specs, at(dp, 0, tp, tp_index), 0, *rc::gen::inRange<std::size_t>(1, 40000));

  std::vector<std::vector<int>> held;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    RC_ASSERT(plan.parameters[i].box == local_box(specs[i], at(dp, 0, tp, tp_index)));
    held.emplace_back(static_cast<std::size_t>(plan.parameters[i].box.elements()));
  }
  std::int64_t next = 0;
  for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
    const BucketPlan::Bucket& bucket = plan.buckets[b];
    RC_ASSERT(bucket.range.begin == next);
    RC_ASSERT(bucket.range.size() % (dp * BucketPlan::kBlock) == 0);
    const BucketPlan::Unit& unit = plan.units[bucket.unit];
    RC_ASSERT(unit.first_bucket <= b && b < unit.last_bucket && unit.first <= bucket.first && bucket.last <= unit.last);
    for (std::int64_t index = 0; index < dp; ++index) {
      const BucketPlan::Range part = plan.part(b, index);
      RC_ASSERT(part.begin == next);
      RC_ASSERT(part.size() * dp == bucket.range.size());
      next = part.end;
      std::int64_t end = part.begin;
      for (const BucketPlan::Run& run : plan.runs(b, part)) {
        RC_ASSERT(run.begin % BucketPlan::kBlock == 0);
        RC_ASSERT(run.at % BucketPlan::kBlock == 0);
        RC_ASSERT(run.at >= end && run.at == plan.parameters[run.parameter].begin + run.begin);
        end = run.at + run.end - run.begin;
        RC_ASSERT(end <= part.end);
        for (std::int64_t e = run.begin; e < run.end; ++e) ++held[run.parameter][static_cast<std::size_t>(e)];
      }
    }
    RC_ASSERT(next == bucket.range.end);
  }
  RC_ASSERT(next == plan.elements);
  for (const std::vector<int>& parameter : held)
    for (const int times : parameter) RC_ASSERT(times == 1);
}

RC_GTEST_PROP(BucketPlan, RanksThatCutUnevenlyPlanTheSameBuckets, ()) {
  const std::vector<ParamSpec> specs = any_specs();
  const auto dp = *rc::gen::inRange<std::int64_t>(1, 4);
  const auto tp = *rc::gen::inRange<std::int64_t>(1, 6);
  const auto bytes = *rc::gen::inRange<std::size_t>(1, 40000);
  const BucketPlan first = plan_buckets(specs, at(dp, 0, tp, 0), 0, bytes);
  for (std::int64_t index = 1; index < tp; ++index) {
    const BucketPlan other = plan_buckets(specs, at(dp, dp - 1, tp, index), 0, bytes);
    RC_ASSERT(other.buckets.size() == first.buckets.size());
    for (std::size_t b = 0; b < first.buckets.size(); ++b) RC_ASSERT(other.buckets[b].range == first.buckets[b].range);
    for (std::size_t i = 0; i < specs.size(); ++i) RC_ASSERT(other.parameters[i].begin == first.parameters[i].begin);
  }
}

// What ranks of a stage keep, in the order in which they keep it.
RC_GTEST_PROP(BucketPlan, UnderZeroARankKeepsItsPartsOfWhatHasValuesOneAfterTheOther, ()) {
  std::vector<ParamSpec> specs = any_specs();
  if (specs.size() > 1 && specs.back().unit != specs[0].unit) {
    specs.back().shape = specs[0].shape;
    specs.back().cuts = specs[0].cuts;
    specs.back().tied_to = specs[0].name;
  }
  const auto dp = *rc::gen::inRange<std::int64_t>(1, 6);
  const auto rank = *rc::gen::inRange<std::int64_t>(0, dp);
  const int stage = *rc::gen::inRange(0, 4);
  const BucketPlan plan = plan_buckets(specs, at(dp, rank), stage, *rc::gen::inRange<std::size_t>(1, 40000));
  std::int64_t next = 0;
  for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
    RC_ASSERT(plan.own(b) == plan.part(b, rank));
    RC_ASSERT(plan.kept(b) == (stage == 0 ? plan.buckets[b].range : plan.own(b)));
    bool valued = false;
    const BucketPlan::Unit& unit = plan.units[plan.buckets[b].unit];
    for (std::size_t i = unit.first; i < unit.last; ++i) valued |= specs[i].tied_to.empty();
    RC_ASSERT(unit.valued == valued);
    if (!valued) continue;
    RC_ASSERT(plan.kept_begin(b) == next);
    next += plan.kept(b).size();
  }
  RC_ASSERT(next == plan.kept_elements());
  for (std::size_t i = 0; i < specs.size(); ++i)
    RC_ASSERT(plan.parameters[i].owner == (specs[i].tied_to.empty() ? i : 0));
}

}  // namespace
}  // namespace trireme
