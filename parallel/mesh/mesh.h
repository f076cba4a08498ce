// Which ranks talk to which is asked in every part of parallelism, and answered here alone, by pure functions of the
// mesh's sizes.
//
// ranks = dp x pp x cp x tp. In the order of ranks tp runs fastest, then cp, dp and pp, so that the ranks of one tp
// group, which talk most, are neighbours, and a launcher that fills host after host keeps them on one. ep has no ranks
// of its own: it divides dp x cp, whose ranks, cp running fastest, are dealt out to ep groups of neighbours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/mesh/axis.h"

namespace trireme {

namespace config {
class Mesh;
}

struct MeshShape {
  int dp = 1;
  int pp = 1;
  int cp = 1;
  int tp = 1;
  int ep = 1;

  int ranks() const { return dp * pp * cp * tp; }
  int size(Axis axis) const;
  bool operator==(const MeshShape&) const = default;
};
std::string to_string(const MeshShape& mesh);  // "dp 2 x pp 4 x cp 1 x tp 8, ep 1"

// The mesh that the configuration asks for on so many ranks; dp, if not given, is what is left. Throws UserError naming
// the nearest meshes of that many ranks that would work.
MeshShape mesh_for(const config::Mesh& wanted, int ranks);

// A rank's place on every axis, and back; ep in `places` is not read.
AxisPlaces places_of(const MeshShape& mesh, int rank);
int rank_at(const MeshShape& mesh, const AxisPlaces& places);

// The ranks that differ from `rank` on this axis alone, itself included, in the order of their places.
std::vector<int> peers(const MeshShape& mesh, Axis axis, int rank);
// The ranks that hold the same experts' parameters: of dp x cp, those at the same place on ep. dp x cp / ep of them.
std::vector<int> expert_replicas(const MeshShape& mesh, int rank);
// The ranks over which gradients of all but experts are reduced: dp x cp.
std::vector<int> data_peers(const MeshShape& mesh, int rank);

}  // namespace trireme
