#include <algorithm>
#include <map>

#include "parallel/placement/file_boxes.h"
#include "trainer/check/layout_check.h"

namespace trireme {
namespace {

struct Held {
  int rank = 0;
  Box box;
  bool counted = false;
};

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

void check_one(const ParamSpec& spec, const std::vector<Held>& holders, std::vector<std::string>& problems) {
  const std::string name = "\"" + spec.name + "\" " + to_string(spec.shape);
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < holders.size(); ++i) {
    const Held& one = holders[i];
    if (!one.counted) {
      const bool copy = one.box.empty() || std::any_of(holders.begin(), holders.end(), [&](const Held& other) {
                          return other.counted && other.box == one.box;
                        });
      if (!copy && spec.tied_to.empty())
        problems.push_back(name + ": " + rank_text(one.rank) + " holds " + to_string(one.box) +
                           ", a copy of which nobody counts");
      continue;
    }
    covered += one.box.elements();
    for (std::size_t j = 0; j < i; ++j)
      if (holders[j].counted && !intersect(holders[j].box, one.box).empty())
        problems.push_back(name + ": " + rank_text(holders[j].rank) + " and " + rank_text(one.rank) + " both count " +
                           to_string(intersect(holders[j].box, one.box)));
  }
  if (spec.tied_to.empty() && covered != spec.shape.elements())
    problems.push_back(name + ": ranks count " + std::to_string(covered) + " of its " +
                       std::to_string(spec.shape.elements()) + " elements");
}

}  // namespace

std::vector<std::string> placement_problems(const MeshShape& mesh, const std::vector<std::vector<ParamSpec>>& stages) {
  std::map<std::string, std::vector<Held>> holders;
  std::vector<ParamSpec> whole;
  for (int rank = 0; rank < mesh.ranks(); ++rank) {
    const AxisPlaces places = places_of(mesh, rank);
    if (places[Axis::kDp].index != 0 || places[Axis::kCp].index != 0) continue;  // all of dp and cp hold the same
    const auto stage = static_cast<std::size_t>(places[Axis::kPp].index);
    for (const ParamSpec& spec : stages.at(stage)) {
      std::vector<Held>& found = holders[spec.name];
      if (found.empty()) whole.push_back(spec);
      found.push_back({rank, local_box(spec, places), is_counted(spec, places)});
    }
  }
  std::vector<std::string> problems;
  for (const ParamSpec& spec : whole) check_one(spec, holders[spec.name], problems);
  for (const std::string& problem : file_coverage_problems(whole)) problems.push_back(problem);
  return problems;
}

}  // namespace trireme
