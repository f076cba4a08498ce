#include "parallel/mesh/mesh.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "parallel/layout.pb.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

MeshShape any_mesh() {
  const auto size = [] { return *rc::gen::inRange(1, 5); };
  MeshShape mesh{size(), size(), size(), size(), 1};
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

TEST(Mesh, TensorParallelRanksAreNeighbours) {
  const MeshShape mesh{2, 2, 2, 4, 1};
  EXPECT_THAT(peers(mesh, Axis::kTp, 5), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(peers(mesh, Axis::kCp, 5), ElementsAre(1, 5));
  EXPECT_THAT(peers(mesh, Axis::kDp, 5), ElementsAre(5, 13));
  EXPECT_THAT(peers(mesh, Axis::kPp, 5), ElementsAre(5, 21));
  EXPECT_THAT(data_peers(mesh, 5), ElementsAre(1, 5, 9, 13));
}

std::string why_not(const config::Mesh& wanted, int ranks) {
  try {
    return "works: " + to_string(mesh_for(wanted, ranks));
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST(Mesh, DataParallelismTakesWhatIsLeft) {
  config::Mesh wanted;
  EXPECT_EQ(mesh_for(wanted, 6), (MeshShape{6, 1, 1, 1, 1}));
  wanted.set_tp(2);
  wanted.set_pp(3);
  EXPECT_EQ(mesh_for(wanted, 12), (MeshShape{2, 3, 1, 2, 1}));
}

TEST(Mesh, AnImpossibleMeshNamesTheNearestThatWork) {
  config::Mesh wanted;
  wanted.set_tp(4);
  EXPECT_THAT(why_not(wanted, 6), AllOf(HasSubstr("takes 4 ranks, or a multiple of them, but there are 6"),
                                        HasSubstr("dp 2 x pp 1 x cp 1 x tp 3, ep 1")));
  wanted.set_dp(4);
  EXPECT_THAT(why_not(wanted, 8),
              AllOf(HasSubstr("takes 16 ranks but there are 8"), HasSubstr("dp 4 x pp 1 x cp 1 x tp 2"),
                    HasSubstr("dp 2 x pp 1 x cp 1 x tp 4")));
  wanted.set_ep(3);
  EXPECT_THAT(why_not(wanted, 16), AllOf(HasSubstr("mesh.ep 3 does not divide dp x cp = 4"), HasSubstr("would work")));
  wanted.set_ep(0);
  EXPECT_THAT(why_not(wanted, 16), HasSubstr("mesh.ep is 0"));
}

}  // namespace
}  // namespace trireme
