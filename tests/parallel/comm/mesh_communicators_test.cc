#include "parallel/comm/mesh_communicators.h"

#include <chrono>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "tests/parallel/comm/tree_reference.h"
#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

MeshShape any_mesh(int most_ranks) {
  MeshShape mesh{*rc::gen::inRange(1, 5), *rc::gen::inRange(1, 4), *rc::gen::inRange(1, 3), *rc::gen::inRange(1, 5), 1};
  RC_PRE(mesh.ranks() <= most_ranks);
  return mesh;
}

// Ranks that stand where `rank` does but on one axis, found by looking at all of them.
std::vector<int> group_of(const MeshShape& mesh, Axis axis, int rank) {
  std::vector<int> group;
  for (int other = 0; other < mesh.ranks(); ++other) {
    bool same = true;
    for (Axis each : {Axis::kDp, Axis::kPp, Axis::kCp, Axis::kTp})
      same &= each == axis || places_of(mesh, other)[each] == places_of(mesh, rank)[each];
    if (same) group.push_back(other);
  }
  return group;
}

std::vector<float> sum_over(const std::vector<int>& ranks, std::size_t count) {
  std::vector<std::vector<float>> all;
  for (int rank : ranks) all.push_back(uneven_values(count, 50 + static_cast<std::uint64_t>(rank)));
  std::vector<float> sum(count), column(ranks.size());
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t member = 0; member < column.size(); ++member) column[member] = all[member][i];
    sum[i] = tree_sum(column.data(), column.size());
  }
  return sum;
}

// What `axis`'s group sums, on `stream`, several times over.
void expect_sums(LocalRank& self, const MeshShape& mesh, Communicator& comm, Axis axis, Stream stream, int times) {
  const std::size_t count = 100 + static_cast<std::size_t>(axis);
  const std::vector<float> mine = uneven_values(count, 50 + static_cast<std::uint64_t>(self.rank()));
  const std::vector<float> expected = sum_over(group_of(mesh, axis, self.rank()), count);
  const Tensor x = self.zeros({static_cast<std::int64_t>(count)});
  self.device().synchronize(self.communication());
  for (int i = 0; i < times; ++i) {
    self.device().upload(stream, x, mine.data());
    comm.all_reduce(stream, x, Reduction::kSum, {i, name_of(axis)});
    std::vector<float> sum(count);
    self.device().download(stream, sum.data(), x);
    self.device().synchronize(stream);
    ASSERT_EQ(sum, expected) << name_of(axis) << " of rank " << self.rank() << " of " << to_string(mesh);
  }
}

RC_GTEST_PROP(MeshCommunicators, EveryGroupSumsOverItsOwnRanksAlone, ()) {
  const MeshShape mesh = any_mesh(12);
  LocalRun how;
  how.options.streams = *rc::gen::arbitrary<bool>() ? StreamMode::kLazy : StreamMode::kImmediate;
  expect_ranks(mesh.ranks(), how, [&](LocalRank& self) {
    const MeshCommunicators groups(mesh, self.comm());
    EXPECT_EQ(groups.places(), places_of(mesh, self.rank()));
    expect_sums(self, mesh, groups.tp(), Axis::kTp, self.compute(), 1);
    expect_sums(self, mesh, groups.pp(), Axis::kPp, self.communication(), 1);
    expect_sums(self, mesh, groups.tp_gradients(), Axis::kTp, self.communication(), 1);
    expect_sums(self, mesh, groups.dp(), Axis::kDp, self.communication(), 1);
  });
}

TEST(MeshCommunicators, GroupsOfARankWorkAtTheSameTimeOnStreamsOfTheirOwn) {
  const MeshShape mesh{2, 2, 1, 2, 1};
  constexpr std::int64_t kCount = 1000;
  expect_ranks(mesh.ranks(), {}, [&](LocalRank& self) {
    const MeshCommunicators groups(mesh, self.comm());
    const Stream transfers = self.device().create_stream(StreamKind::kCommunication, "transfers");
    const auto start = uneven_values(kCount, static_cast<std::uint64_t>(self.rank()));
    const Tensor tp = self.floats(start), dp = self.floats(start), pp = self.floats(start);
    self.device().synchronize(self.communication());
    // Maxima, so that the twentieth is still the first. Each stream is filled before any is waited for.
    for (int i = 0; i < 20; ++i) groups.dp().all_reduce(self.communication(), dp, Reduction::kMax, {i, "dp"});
    for (int i = 0; i < 20; ++i) groups.pp().all_reduce(transfers, pp, Reduction::kMax, {i, "pp"});
    for (int i = 0; i < 20; ++i) groups.tp().all_reduce(self.compute(), tp, Reduction::kMax, {i, "tp"});
    self.device().synchronize(transfers);
    self.device().synchronize(self.compute());
    for (const auto& [axis, tensor] : {std::pair{Axis::kDp, dp}, {Axis::kPp, pp}, {Axis::kTp, tp}}) {
      std::vector<float> expected(kCount, -1e30f);
      for (int rank : group_of(mesh, axis, self.rank())) {
        const auto theirs = uneven_values(kCount, static_cast<std::uint64_t>(rank));
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = std::max(expected[i], theirs[i]);
      }
      EXPECT_EQ(self.read<float>(tensor), expected) << name_of(axis);
    }
    self.device().destroy_stream(transfers);
  });
}

TEST(MeshCommunicatorsFailure, AMismatchInAGroupNamesItAndTheRanksOfTheWorldOnEveryRank) {
  const MeshShape mesh{2, 1, 1, 2, 1};  // dp groups {0, 2} and {1, 3}
  const auto begin = std::chrono::steady_clock::now();
  const auto thrown = run_ranks(mesh.ranks(), {}, [&](LocalRank& self) {
    const MeshCommunicators groups(mesh, self.comm());
    const Tensor x = self.zeros({8});
    const bool odd = self.rank() == 3;
    if (self.rank() % 2 == 1)
      groups.dp().all_reduce(self.communication(), x, Reduction::kSum,
                             {4, odd ? "layers.1.weight" : "layers.0.weight"});
    else
      groups.tp().all_reduce(self.compute(), x, Reduction::kSum, {4, "layers.0.output"});
    self.device().synchronize(self.communication());
  });
  EXPECT_THAT(thrown, Each(AllOf(HasSubstr("ranks 1 and 3 make different calls (in dp)"),
                                 HasSubstr("rank 1 is in all_reduce of \"layers.0.weight\""),
                                 HasSubstr("rank 3 is in all_reduce of \"layers.1.weight\" (fp32, 32 bytes) in step 4 "
                                           "in dp"))));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));  // the timeout is 20
}

TEST(MeshCommunicatorsFailure, RanksThatWaitInDifferentGroupsAreAllNamedAtTheTimeout) {
  const MeshShape mesh{2, 1, 1, 2, 1};
  LocalRun how;
  how.timeout = std::chrono::milliseconds(300);
  // 0 waits for 2 in dp, 2 for 3 in tp, 3 for 1 in dp, 1 for 0 in tp.
  const auto thrown = run_ranks(mesh.ranks(), how, [&](LocalRank& self) {
    const MeshCommunicators groups(mesh, self.comm());
    const Tensor x = self.zeros({8});
    const bool in_dp = self.rank() == 0 || self.rank() == 3;
    (in_dp ? groups.dp() : groups.tp()).all_reduce(self.communication(), x, Reduction::kSum, {4, in_dp ? "w" : "y"});
    self.device().synchronize(self.communication());
  });
  EXPECT_THAT(thrown, Each(AllOf(HasSubstr("has waited for 300 ms"),
                                 HasSubstr("rank 0 is in all_reduce of \"w\" (fp32, 32 bytes) in step 4 in dp"),
                                 HasSubstr("rank 1 is in all_reduce of \"y\" (fp32, 32 bytes) in step 4 in tp"),
                                 HasSubstr("rank 2 is in all_reduce of \"y\" (fp32, 32 bytes) in step 4 in tp"),
                                 HasSubstr("rank 3 is in all_reduce of \"w\" (fp32, 32 bytes) in step 4 in dp"))));
}

TEST(MeshCommunicatorsFailure, ARankThatLeftBeforeItsGroupsWereMadeIsMissedAtOnce) {
  LocalGroup group(2, std::chrono::seconds(20));
  group.leave(1, "its device is gone");
  LocalRank self(group, 0, {});
  const MeshCommunicators groups({.dp = 2}, self.comm());
  const auto begin = std::chrono::steady_clock::now();
  groups.dp().all_reduce(self.communication(), self.zeros({8}), Reduction::kSum, {4, "w"});
  try {
    self.device().synchronize(self.communication());
    FAIL() << "rank 0 went on alone";
  } catch (const PeerError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("waits for rank 1, which left"), HasSubstr("its device is gone")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(MeshCommunicatorsFailure, ARankThatLeavesEndsThoseWhoWaitForItInAnyGroup) {
  const MeshShape mesh{2, 1, 1, 2, 1};
  const auto begin = std::chrono::steady_clock::now();
  const auto thrown = run_ranks(mesh.ranks(), {}, [&](LocalRank& self) {
    const MeshCommunicators groups(mesh, self.comm());
    if (self.rank() == 3) return;
    const Tensor x = self.zeros({8});
    (self.rank() == 2 ? groups.tp() : groups.dp()).all_reduce(self.communication(), x, Reduction::kSum, {4, "w"});
    self.device().synchronize(self.communication());
  });
  for (std::size_t rank : {0u, 1u, 2u})
    EXPECT_THAT(thrown[rank], AllOf(HasSubstr("waits for rank 3, which left"), HasSubstr("\"w\"")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace trireme
