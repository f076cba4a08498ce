#include "parallel/tensor/replica_sums.h"

#include <gtest/gtest.h>

#include "parallel/comm/recording.h"
#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

ParamSpec spec_of(const char* name, std::vector<Cut> cuts) {
  ParamSpec spec;
  spec.name = name;
  spec.shape = {8, 8};
  spec.cuts = std::move(cuts);
  return spec;
}

// norm, q, kv of two heads, bias of the output, the next norm.
const std::vector<ParamSpec> kSpecs = {spec_of("norm", {}), spec_of("q", {{0, Axis::kTp}}),
                                       spec_of("kv", {{0, Axis::kTp, 2}}), spec_of("bias", {}), spec_of("next", {})};

AxisPlaces place(std::int64_t parts, std::int64_t index) {
  AxisPlaces places;
  places[Axis::kTp] = {parts, index};
  return places;
}

TEST(ReplicaSums, OneRankAddsNothing) {
  RecordingCommunicator one(0, 1);
  EXPECT_TRUE(ReplicaSums(kSpecs, {}, one).runs(0, kSpecs.size()).empty());
}

TEST(ReplicaSums, WhatIsCutIsNotAddedAndNeighboursThatAreWholeTravelTogether) {
  RecordingCommunicator two(1, 2);
  const ReplicaSums sums(kSpecs, place(2, 1), two);
  const std::vector<ReplicaSums::Run> runs = sums.runs(0, kSpecs.size());
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].first, 0u);
  EXPECT_EQ(runs[0].last, 1u);
  EXPECT_EQ(runs[1].first, 3u);
  EXPECT_EQ(runs[1].last, 5u);
  EXPECT_EQ(runs[0].group, &two);
  EXPECT_EQ(runs[1].group, &two);
  EXPECT_EQ(sums.runs(1, 4).size(), 1u);
}

// Six ranks hold two heads of K and V: ranks 0 to 2 the first, 3 to 5 the second.
TEST(ReplicaSums, HeadsOfKeysAndValuesAreAddedOverTheRanksThatHoldThem) {
  expect_ranks(6, {}, [](LocalRank& self) {
    const ReplicaSums sums(kSpecs, place(6, self.rank()), self.comm());
    const std::vector<ReplicaSums::Run> runs = sums.runs(2, 3);
    ASSERT_EQ(runs.size(), 1u);
    EXPECT_EQ(runs[0].group->size(), 3);
    const Tensor gradient = self.floats({static_cast<float>(1 << self.rank())});
    runs[0].group->all_reduce(self.communication(), gradient, Reduction::kSum, {1, "kv"});
    EXPECT_EQ(self.read<float>(gradient), std::vector<float>{self.rank() < 3 ? 7.0f : 56.0f});
  });
}

}  // namespace
}  // namespace trireme
