// Which ranks talk to which is asked in every part of parallelism, and answered here alone, by pure functions of the
// mesh's sizes.
//
// ranks = dp x pp x cp x tp, counted along the axes in the mesh's order, the fastest first. By default tp runs fastest,
// then cp, dp and pp, so that the ranks of one tp group, which talk most, are neighbours, and a launcher that fills
// host after host keeps them on one. ep has no ranks of its own: it divides dp x cp, whose ranks, cp counted fastest
// whatever the order, are dealt out to ep groups of neighbours.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/mesh/axis.h"

namespace trireme {

using AxisOrder = std::array<Axis, 4>;  // dp, pp, cp and tp, each once, the fastest first
inline constexpr AxisOrder kDefaultOrder = {Axis::kTp, Axis::kCp, Axis::kDp, Axis::kPp};
std::string to_string(const AxisOrder& order);                     // "tp cp dp pp"
std::optional<AxisOrder> parse_axis_order(std::string_view text);  // none if it is not one

struct MeshShape {
  int dp = 1;
  int pp = 1;
  int cp = 1;
  int tp = 1;
  int ep = 1;
  AxisOrder order = kDefaultOrder;

  int ranks() const { return dp * pp * cp * tp; }
  int size(Axis axis) const;
  bool operator==(const MeshShape&) const = default;
};
std::string to_string(const MeshShape& mesh);  // "dp 2 x pp 4 x cp 1 x tp 8"; ep and order where not 1 and the default

// Of the meshes of exactly `ranks` ranks that `works` accepts the `most` that change `wanted` least, in factors of each
// axis, cp's twice; dp counts only if the user gave it.
std::vector<MeshShape> nearest_meshes(const MeshShape& wanted, bool dp_given, int ranks,
                                      const std::function<bool(const MeshShape&)>& works, std::size_t most = 3);

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
