#include "parallel/mesh/mesh.h"

#include <algorithm>
#include <cmath>

#include "monitoring/check.h"

namespace trireme {
namespace {

std::vector<int> divisors(int number) {
  std::vector<int> found;
  for (int each = 1; each <= number / each; ++each)
    if (number % each == 0) {
      found.push_back(each);
      if (each != number / each) found.push_back(number / each);
    }
  return found;
}

double distance(int a, int b) { return std::abs(std::log2(static_cast<double>(a) / b)); }

std::vector<int> ranks_along(const MeshShape& mesh, AxisPlaces places, Axis axis) {
  std::vector<int> ranks;
  for (int index = 0; index < mesh.size(axis); ++index) {
    places[axis].index = index;
    ranks.push_back(rank_at(mesh, places));
  }
  return ranks;
}

// A rank's number among the dp x cp ranks of its stage and tp place.
int data_index(const MeshShape& mesh, int rank) {
  const AxisPlaces places = places_of(mesh, rank);
  return static_cast<int>(places[Axis::kDp].index * mesh.cp + places[Axis::kCp].index);
}

}  // namespace

int MeshShape::size(Axis axis) const {
  switch (axis) {
    case Axis::kDp:
      return dp;
    case Axis::kPp:
      return pp;
    case Axis::kCp:
      return cp;
    case Axis::kTp:
      return tp;
    case Axis::kEp:
      return ep;
  }
  return 1;
}

std::string to_string(const MeshShape& mesh) {
  std::string text;
  for (Axis axis : {Axis::kDp, Axis::kPp, Axis::kCp, Axis::kTp})
    text += (text.empty() ? "" : " x ") + std::string(name_of(axis)) + " " + std::to_string(mesh.size(axis));
  if (mesh.ep != 1) text += ", ep " + std::to_string(mesh.ep);
  return mesh.order == kDefaultOrder ? text : text + ", order " + to_string(mesh.order);
}

std::string to_string(const AxisOrder& order) {
  std::string text;
  for (Axis axis : order) text += (text.empty() ? "" : " ") + std::string(name_of(axis));
  return text;
}

std::optional<AxisOrder> parse_axis_order(std::string_view text) {
  AxisOrder order = kDefaultOrder;
  std::sort(order.begin(), order.end());
  do {
    if (to_string(order) == text) return order;
  } while (std::next_permutation(order.begin(), order.end()));
  return std::nullopt;
}

std::vector<MeshShape> nearest_meshes(const MeshShape& wanted, bool dp_given, int ranks,
                                      const std::function<bool(const MeshShape&)>& works, std::size_t most) {
  struct Choice {
    double change;
    MeshShape mesh;
  };
  std::vector<Choice> choices;
  for (int tp : divisors(ranks))
    for (int cp : divisors(ranks / tp))
      for (int pp : divisors(ranks / tp / cp)) {
        MeshShape mesh{ranks / tp / cp / pp, pp, cp, tp, wanted.ep, wanted.order};
        if (mesh.dp * cp % mesh.ep != 0) mesh.ep = 1;
        // cp is for long contexts, and no way to use up ranks.
        const double change = distance(tp, wanted.tp) + 2 * distance(cp, wanted.cp) + distance(pp, wanted.pp) +
                              (dp_given ? distance(mesh.dp, wanted.dp) : 0) + distance(mesh.ep, wanted.ep);
        choices.push_back({change, mesh});
      }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const Choice& a, const Choice& b) { return a.change < b.change; });
  std::vector<MeshShape> nearest;
  for (const Choice& choice : choices)
    if (nearest.size() < most && works(choice.mesh)) nearest.push_back(choice.mesh);
  return nearest;
}

AxisPlaces places_of(const MeshShape& mesh, int rank) {
  CHECK(rank >= 0 && rank < mesh.ranks(), "rank ", rank, " of ", to_string(mesh));
  AxisPlaces places;
  for (Axis axis : mesh.order) {
    places[axis] = {mesh.size(axis), rank % mesh.size(axis)};
    rank /= mesh.size(axis);
  }
  places[Axis::kEp] = {mesh.ep, (places[Axis::kDp].index * mesh.cp + places[Axis::kCp].index) % mesh.ep};
  return places;
}

int rank_at(const MeshShape& mesh, const AxisPlaces& places) {
  std::int64_t rank = 0;
  std::int64_t stride = 1;
  for (Axis axis : mesh.order) {
    CHECK(places[axis].index >= 0 && places[axis].index < mesh.size(axis), name_of(axis), " ", places[axis].index,
          " of ", to_string(mesh));
    rank += places[axis].index * stride;
    stride *= mesh.size(axis);
  }
  return static_cast<int>(rank);
}

std::vector<int> peers(const MeshShape& mesh, Axis axis, int rank) {
  if (axis != Axis::kEp) return ranks_along(mesh, places_of(mesh, rank), axis);
  const std::vector<int> data = data_peers(mesh, rank);
  const auto first = data.begin() + data_index(mesh, rank) / mesh.ep * mesh.ep;
  return {first, first + mesh.ep};
}

std::vector<int> expert_replicas(const MeshShape& mesh, int rank) {
  const std::vector<int> data = data_peers(mesh, rank);
  std::vector<int> replicas;
  for (auto i = static_cast<std::size_t>(data_index(mesh, rank) % mesh.ep); i < data.size();
       i += static_cast<std::size_t>(mesh.ep))
    replicas.push_back(data[i]);
  return replicas;
}

std::vector<int> data_peers(const MeshShape& mesh, int rank) {
  AxisPlaces places = places_of(mesh, rank);
  std::vector<int> ranks;
  for (int dp = 0; dp < mesh.dp; ++dp) {
    places[Axis::kDp].index = dp;
    const std::vector<int> along = ranks_along(mesh, places, Axis::kCp);
    ranks.insert(ranks.end(), along.begin(), along.end());
  }
  return ranks;
}

}  // namespace trireme
