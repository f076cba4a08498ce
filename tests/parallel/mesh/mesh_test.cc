#include "parallel/mesh/mesh.h"

#include <algorithm>
#include <array>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace trireme {
namespace {

using testing::ElementsAre;

MeshShape any_mesh() {
  const auto size = [] { return *rc::gen::inRange(1, 5); };
  MeshShape mesh{size(), size(), size(), size(), 1};
  std::vector<AxisOrder> orders;
  AxisOrder order = {Axis::kDp, Axis::kPp, Axis::kCp, Axis::kTp};
  do orders.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  mesh.order = *rc::gen::elementOf(orders);
  std::vector<int> fits;
  for (int ep = 1; ep <= mesh.dp * mesh.cp; ++ep)
    if (mesh.dp * mesh.cp % ep == 0) fits.push_back(ep);
  mesh.ep = *rc::gen::elementOf(fits);
  return mesh;
}

RC_GTEST_PROP(Mesh, RanksAndPlacesAreOneToOne, ()) {
  const MeshShape mesh = any_mesh();
  for (int rank = 0; rank < mesh.ranks(); ++rank) RC_ASSERT(rank_at(mesh, places_of(mesh, rank)) == rank);
}

RC_GTEST_PROP(Mesh, GroupsOfAnAxisSplitTheRanksAndAllMembersAgree, ()) {
  const MeshShape mesh = any_mesh();
  for (Axis axis : {Axis::kDp, Axis::kPp, Axis::kCp, Axis::kTp, Axis::kEp})
    for (int rank = 0; rank < mesh.ranks(); ++rank) {
      const std::vector<int> group = peers(mesh, axis, rank);
      RC_ASSERT(static_cast<int>(group.size()) == mesh.size(axis));
      const auto place = static_cast<std::size_t>(places_of(mesh, rank)[axis].index);
      RC_ASSERT(group[place] == rank);
      for (int peer : group) RC_ASSERT(peers(mesh, axis, peer) == group);
    }
}

RC_GTEST_PROP(Mesh, ExpertGroupsAndTheirReplicasTileTheDataRanks, ()) {
  const MeshShape mesh = any_mesh();
  for (int rank = 0; rank < mesh.ranks(); ++rank) {
    const std::vector<int> replicas = expert_replicas(mesh, rank);
    RC_ASSERT(static_cast<int>(replicas.size()) == mesh.dp * mesh.cp / mesh.ep);
    std::vector<int> all;
    for (int replica : replicas) {
      RC_ASSERT(places_of(mesh, replica)[Axis::kEp] == places_of(mesh, rank)[Axis::kEp]);
      const std::vector<int> group = peers(mesh, Axis::kEp, replica);
      all.insert(all.end(), group.begin(), group.end());
    }
    std::vector<int> data = data_peers(mesh, rank);
    std::sort(all.begin(), all.end());
    std::sort(data.begin(), data.end());
    RC_ASSERT(all == data);
  }
}

// Written apart from rank_at: the axes as digits of the rank, the first of the order the lowest.
RC_GTEST_PROP(Mesh, RanksCountAlongTheAxesInTheirOrder, ()) {
  const MeshShape mesh = any_mesh();
  AxisPlaces places;
  std::array<int, 4> digits{};
  for (int rank = 0; rank < mesh.ranks(); ++rank) {
    for (std::size_t i = 0; i < digits.size(); ++i) RC_ASSERT(places_of(mesh, rank)[mesh.order[i]].index == digits[i]);
    for (std::size_t i = 0; i < digits.size() && ++digits[i] == mesh.size(mesh.order[i]); ++i) digits[i] = 0;
  }
}

RC_GTEST_PROP(Mesh, GroupsAreInAscendingOrderOfRanks, ()) {
  const MeshShape mesh = any_mesh();
  for (Axis axis : {Axis::kDp, Axis::kPp, Axis::kCp, Axis::kTp})
    for (int rank = 0; rank < mesh.ranks(); ++rank) {
      const std::vector<int> group = peers(mesh, axis, rank);
      RC_ASSERT(std::is_sorted(group.begin(), group.end()));
    }
}

TEST(Mesh, AnOrderIsReadAsItIsWrittenAndNothingElseIs) {
  AxisOrder order = {Axis::kDp, Axis::kPp, Axis::kCp, Axis::kTp};
  do EXPECT_EQ(parse_axis_order(to_string(order)), order);
  while (std::next_permutation(order.begin(), order.end()));
  for (const char* text : {"", "tp", "tp cp dp", "tp cp dp dp", "tp cp dp pp ep", "tp,cp,dp,pp", "tp  cp dp pp"})
    EXPECT_EQ(parse_axis_order(text), std::nullopt) << text;
}

TEST(Mesh, TensorParallelRanksAreNeighbours) {
  const MeshShape mesh{2, 2, 2, 4, 1};
  EXPECT_THAT(peers(mesh, Axis::kTp, 5), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(peers(mesh, Axis::kCp, 5), ElementsAre(1, 5));
  EXPECT_THAT(peers(mesh, Axis::kDp, 5), ElementsAre(5, 13));
  EXPECT_THAT(peers(mesh, Axis::kPp, 5), ElementsAre(5, 21));
  EXPECT_THAT(data_peers(mesh, 5), ElementsAre(1, 5, 9, 13));
}

TEST(Mesh, NearestMeshesHaveAllRanksWorkAndChangeLittle) {
  const auto all = [](const MeshShape&) { return true; };
  const MeshShape wanted{4, 1, 1, 4, 1};
  EXPECT_THAT(nearest_meshes(wanted, true, 8, all, 2), ElementsAre(MeshShape{4, 1, 1, 2, 1}, MeshShape{2, 1, 1, 4, 1}));
  EXPECT_THAT(nearest_meshes(wanted, false, 8, all, 1), ElementsAre(MeshShape{2, 1, 1, 4, 1}));
  const auto odd_tp = [](const MeshShape& mesh) { return mesh.tp % 2 == 1; };
  EXPECT_THAT(nearest_meshes(wanted, true, 12, odd_tp, 1), ElementsAre(MeshShape{4, 1, 1, 3, 1}));
  EXPECT_THAT(nearest_meshes(wanted, true, 12, [](const MeshShape&) { return false; }), ElementsAre());
  for (const MeshShape& mesh : nearest_meshes({3, 5, 1, 7, 2}, true, 360, all, 1000)) EXPECT_EQ(mesh.ranks(), 360);
}

}  // namespace
}  // namespace trireme
