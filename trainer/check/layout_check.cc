#include "trainer/check/layout_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "monitoring/check.h"
#include "parallel/check/call_match.h"

namespace trireme {
namespace {

using Sizes = std::vector<Shape>;

// What tells the places of tp apart: how large each box is.
Sizes box_sizes(const std::vector<ParamSpec>& specs, const AxisPlaces& places) {
  Sizes sizes;
  for (const ParamSpec& spec : specs) sizes.push_back(local_box(spec, places).size);
  return sizes;
}

std::vector<RecordedGroup> groups_of(const MeshShape& mesh, int rank) {
  RecordingCommunicator world(rank, mesh.ranks());
  const MeshCommunicators groups(mesh, world);
  return world.groups();
}

class Checker {
 public:
  Checker(const Experiment& experiment, const Layout& layout, const BatchPlan& batches)
      : experiment_(experiment), layout_(layout), mesh_(layout.mesh), batches_(batches) {}

  LayoutCheck run() {
    for (int pp = 0; pp < mesh_.pp; ++pp) plan_stage(pp);
    check_memory();
    std::vector<std::vector<ParamSpec>> stages;
    for (int pp = 0; pp < mesh_.pp; ++pp) stages.push_back(planned_at(pp, 0, 0).plan.specs);
    for (const std::string& problem : placement_problems(mesh_, stages)) add(problem);
    check_calls();
    return std::move(check_);
  }

 private:
  using Place = std::array<int, 3>;  // pp, dp, tp

  int rank_of(int pp, int dp, int tp) const {
    AxisPlaces places;
    places[Axis::kPp].index = pp;
    places[Axis::kDp].index = dp;
    places[Axis::kTp].index = tp;
    return rank_at(mesh_, places);
  }
  const PlannedRank& planned_at(int pp, int dp, int tp) const { return check_.planned[index_.at({pp, dp, tp})]; }
  std::vector<int> dp_ends() const { return mesh_.dp > 1 ? std::vector{0, mesh_.dp - 1} : std::vector{0}; }
  void add(const std::string& problem) { check_.problems.push_back(problem); }

  void plan(int pp, int dp, int tp) {
    PlannedRank planned{.rank = rank_of(pp, dp, tp), .places = {}, .stands_for = 0, .plan = {}};
    planned.places = places_of(mesh_, planned.rank);
    planned.plan = plan_step(experiment_, layout_, batches_, planned.rank);
    index_[{pp, dp, tp}] = check_.planned.size();
    check_.planned.push_back(std::move(planned));
  }

  // Plans what differs, and points the places between at who stands for them.
  void plan_stage(int pp) {
    plan(pp, 0, 0);
    const std::vector<ParamSpec> specs = planned_at(pp, 0, 0).plan.specs;
    const bool only_the_mesh = planned_at(pp, 0, 0).plan.groups.size() == groups_of(mesh_, 0).size();
    std::map<int, int> like;  // place of tp -> the place that is planned
    std::vector<std::pair<Sizes, int>> kinds;
    for (int tp = 0; tp < mesh_.tp; ++tp) {
      const Sizes sizes = box_sizes(specs, places_of(mesh_, rank_of(pp, 0, tp)));
      const auto known =
          std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.first == sizes; });
      const bool itself = known == kinds.end() || !only_the_mesh || tp + 1 == mesh_.tp;
      if (known == kinds.end()) kinds.emplace_back(sizes, tp);
      like[tp] = itself ? tp : known->second;
    }
    for (int dp : dp_ends())
      for (const auto& [tp, planned] : like)
        if (tp == planned && !index_.contains({pp, dp, tp})) plan(pp, dp, tp);
    for (const auto& [tp, planned] : like) {
      for (int dp : dp_ends()) index_[{pp, dp, tp}] = index_.at({pp, dp, planned});
      const PlannedRank& first = planned_at(pp, 0, tp);
      const PlannedRank& last = planned_at(pp, mesh_.dp - 1, tp);
      if (tp == planned && (first.plan.calls != last.plan.calls || first.plan.arena_bytes != last.plan.arena_bytes))
        add("rank " + std::to_string(first.rank) + " and rank " + std::to_string(last.rank) +
            ", which differ on dp alone, plan different calls or memory");
      check_.planned[index_.at({pp, 0, tp})].stands_for += mesh_.dp > 1 ? mesh_.dp - 1 : 1;
      if (mesh_.dp > 1) ++check_.planned[index_.at({pp, mesh_.dp - 1, tp})].stands_for;
    }
  }

  void check_memory() {
    std::set<std::string> counted;
    for (std::size_t i = 0; i < check_.planned.size(); ++i) {
      const StepPlan& plan = check_.planned[i].plan;
      if (plan.arena_bytes > check_.planned[check_.worst].plan.arena_bytes) check_.worst = i;
      for (const ParamSpec& spec : plan.specs)
        if (spec.tied_to.empty() && counted.insert(spec.name).second) check_.parameters += spec.shape.elements();
    }
  }

  void check_calls() {
    std::vector<std::vector<RecordedGroup>> groups;
    std::vector<RankCalls> ranks;
    groups.reserve(index_.size());
    for (const auto& [place, planned] : index_) {
      const PlannedRank& like = check_.planned[planned];
      const int rank = rank_of(place[0], place[1], place[2]);
      groups.push_back(rank == like.rank ? like.plan.groups : groups_of(mesh_, rank));
      ranks.push_back({rank, like.plan.calls, like.plan.before, groups.back()});
    }
    for (const std::string& problem : call_problems(ranks)) add(problem);
  }

  const Experiment& experiment_;
  const Layout& layout_;
  const MeshShape mesh_;
  const BatchPlan batches_;
  LayoutCheck check_;
  std::map<Place, std::size_t> index_;  // place -> of check_.planned
};

}  // namespace

LayoutCheck check_layout(const Experiment& experiment, const Layout& layout, const BatchPlan& batches) {
  CHECK(layout.mesh.cp == 1, "context parallelism is not planned yet");
  CHECK(batches.global_batch % layout.mesh.dp == 0, "dp must divide the batch");
  return Checker(experiment, layout, batches).run();
}

}  // namespace trireme
