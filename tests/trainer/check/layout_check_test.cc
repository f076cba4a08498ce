#include "trainer/check/layout_check.h"

#include <ctime>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/check/call_match.h"
#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

using config::Pipeline;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Experiment experiment_for(bool tied, config::Numerics numerics = config::fast) {
  Experiment experiment = small_experiment(small_model(config::Model::llama, tied), 12);
  experiment.model.set_layers(5);
  make_noisy(experiment);
  experiment.train.set_exact_groups(2);
  experiment.numerics = numerics;
  return experiment;
}

struct Case {
  const char* name;
  Layout layout;
  std::int64_t micro_batch = 1;
};

std::vector<Case> cases() {
  return {
      {"one rank", {}},
      {"dp", {.mesh = {.dp = 3}}, 2},
      {"gpipe", {.mesh = {.pp = 3}, .schedule = Pipeline::gpipe}},
      {"1f1b", {.mesh = {.dp = 2, .pp = 2}}, 2},
      {"1f1b, uneven", {.mesh = {.dp = 2, .pp = 4, .order = {Axis::kPp, Axis::kDp, Axis::kTp, Axis::kCp}}}},
      {"interleaved", {.mesh = {.dp = 2, .pp = 2}, .schedule = Pipeline::interleaved_1f1b, .chunks = 2}},
      {"tp", {.mesh = {.tp = 3}}, 2},  // ffn, vocabulary and rows in uneven parts; one KV head, replicated
      {"tp, dp", {.mesh = {.dp = 2, .tp = 3}}, 3},
      {"recomputed", {.mesh = {.pp = 2}, .recompute = config::full}, 3},
      {"recomputed on one stage",
       {.mesh = {.dp = 2, .pp = 2}, .recompute = Recomputation({config::full, config::none})}},
  };
}

BatchPlan batches_of(const Experiment& experiment, const Case& each) {
  return {.global_batch = experiment.train.global_batch(), .micro_batch = each.micro_batch};
}

// The one that was planned in the rank's stead.
const PlannedRank& standing_for(const LayoutCheck& check, const MeshShape& mesh, int rank) {
  const AxisPlaces places = places_of(mesh, rank);
  for (const PlannedRank& planned : check.planned)
    if (planned.rank == rank) return planned;
  for (const PlannedRank& planned : check.planned)
    if (planned.places[Axis::kPp] == places[Axis::kPp] && planned.places[Axis::kTp] == places[Axis::kTp])
      return planned;
  throw std::logic_error("nobody stands for rank " + std::to_string(rank));
}

TEST(LayoutCheck, LayoutsThatRunHoldAndEveryRankIsSpokenFor) {
  for (const bool tied : {false, true})
    for (const config::Numerics numerics : {config::fast, config::exact})
      for (const Case& each : cases()) {
        if (numerics == config::exact && 2 % each.layout.mesh.dp != 0) continue;
        if (tied && each.layout.mesh.pp > 1) continue;
        const Experiment experiment = experiment_for(tied, numerics);
        const LayoutCheck check = check_layout(experiment, each.layout, batches_of(experiment, each));
        EXPECT_THAT(check.problems, IsEmpty()) << each.name;
        int ranks = 0;
        for (const PlannedRank& planned : check.planned) ranks += planned.stands_for;
        EXPECT_EQ(ranks, each.layout.mesh.ranks()) << each.name;
        const LayoutCheck alone = check_layout(experiment, {}, {.global_batch = 12, .micro_batch = 1});
        EXPECT_EQ(check.parameters, alone.parameters) << each.name;
      }
}

TEST(LayoutCheck, WhoStandsForARankPlansWhatItPlans) {
  for (const Case& each : cases()) {
    const Experiment experiment = experiment_for(each.layout.mesh.pp == 1);
    const LayoutCheck check = check_layout(experiment, each.layout, batches_of(experiment, each));
    for (int rank = 0; rank < each.layout.mesh.ranks(); ++rank) {
      const StepPlan own = plan_step(experiment, each.layout, batches_of(experiment, each), rank);
      const StepPlan& given = standing_for(check, each.layout.mesh, rank).plan;
      EXPECT_EQ(given.calls, own.calls) << each.name << ", rank " << rank;
      EXPECT_EQ(given.arena_bytes, own.arena_bytes) << each.name << ", rank " << rank;
      EXPECT_EQ(given.bytes_at_peak, own.bytes_at_peak) << each.name << ", rank " << rank;
    }
  }
}

TEST(LayoutCheck, ItsListIsTheRealRunsCallForCallAndItsMemoryByteForByte) {
  for (const Case& each : cases()) {
    const Experiment experiment = experiment_for(each.layout.mesh.pp == 1);
    const LayoutCheck check = check_layout(experiment, each.layout, batches_of(experiment, each));
    run_as_ranks(each.layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
      SmallRun run(group, rank, experiment, each.layout, batches_of(experiment, each));
      run.run(1, 1e-2);
      run.step().sample_losses(small_batch(experiment.model, {0, each.micro_batch}));
      run.rank().context().device->synchronize(run.rank().context().compute);
      const StepPlan& plan = standing_for(check, each.layout.mesh, rank).plan;
      EXPECT_EQ(run.peers().calls(), plan.calls) << each.name << ", rank " << rank;
      EXPECT_EQ(run.rank().context().arena->peak_bytes(), plan.arena_bytes) << each.name << ", rank " << rank;
      EXPECT_EQ(run.rank().context().arena->bytes_at_peak(), plan.bytes_at_peak) << each.name << ", rank " << rank;
    });
  }
}

// A real step's lists, with one mistake on one rank.
std::vector<std::string> with_mistake(const std::function<void(StepPlan&, int rank)>& plant) {
  const Experiment experiment = experiment_for(false);
  const Layout layout{.mesh = {.dp = 2, .pp = 2}};
  std::vector<StepPlan> plans;
  std::vector<RankCalls> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    plans.push_back(plan_step(experiment, layout, {.global_batch = 12, .micro_batch = 1}, rank));
    plant(plans.back(), rank);
  }
  for (int rank = 0; rank < 4; ++rank) {
    const StepPlan& plan = plans[static_cast<std::size_t>(rank)];
    ranks.push_back({rank, plan.calls, plan.before, plan.groups});
  }
  return call_problems(ranks);
}

RecordedCall& nth(StepPlan& plan, const char* group, const char* op, int n) {
  for (RecordedCall& call : plan.calls)
    if (call.group == group && call.op == op && n-- == 0) return call;
  throw std::logic_error("no such call");
}

TEST(LayoutCheck, MistakesInARealStepsListsAreFoundAndNamed) {
  EXPECT_THAT(with_mistake([](StepPlan&, int) {}), IsEmpty());
  std::string tensor, other;
  const auto remember = [&](StepPlan& plan) {
    tensor = nth(plan, "dp", "all_reduce", 1).tensor;
    other = nth(plan, "dp", "all_reduce", 2).tensor;
  };
  EXPECT_THAT(with_mistake([&](StepPlan& plan, int rank) {  // swapped
                remember(plan);
                if (rank == 1) std::swap(nth(plan, "dp", "all_reduce", 1), nth(plan, "dp", "all_reduce", 2));
              }),
              Contains(AllOf(HasSubstr("rank 0"), HasSubstr("rank 1"), HasSubstr(" in dp"))));
  EXPECT_THAT(with_mistake([&](StepPlan& plan, int rank) {
                if (rank == 3) nth(plan, "dp", "all_reduce", 1).bytes += 4;
              }),
              ElementsAre(AllOf(HasSubstr("rank 2"), HasSubstr("rank 3"), HasSubstr(" in dp"))));
  EXPECT_THAT(with_mistake([&](StepPlan& plan, int rank) {
                if (rank == 3) nth(plan, "dp", "all_reduce", 1).tensor = "layers.9.weight";
              }),
              ElementsAre(HasSubstr("rank 3 makes all_reduce of \"layers.9.weight\"")));
  EXPECT_THAT(with_mistake([&](StepPlan& plan, int rank) {
                RecordedCall& call = nth(plan, "pp", "exchange", 0);
                if (rank == 2 && !call.receives.empty()) call.receives[0].bytes += 4;
                if (rank == 2 && call.receives.empty()) call.sends[0].bytes += 4;
              }),
              ElementsAre(AllOf(HasSubstr("rank 0 sends"), HasSubstr("where rank 2 receives"))));
  // A transfer that never comes: those behind it meet the wrong ones, or nobody.
  EXPECT_THAT(with_mistake([&](StepPlan& plan, int rank) {
                if (rank != 2) return;
                RecordedCall& call = nth(plan, "pp", "exchange", 0);
                call.sends.clear();
                call.receives.clear();
              }),
              Contains(AllOf(HasSubstr("rank 0"), HasSubstr("in pp"))));
}

ParamSpec matrix(const char* name, std::int64_t rows, std::vector<Cut> cuts = {}) {
  ParamSpec spec{.name = name, .shape = {rows, 4}};
  spec.cuts = std::move(cuts);
  spec.files = {{.tensor = std::string("model.") + name, .tensor_shape = {rows, 4}, .rows = rows}};
  return spec;
}

TEST(PlacementProblems, AreNoneWhereEachElementHasOneOwner) {
  const MeshShape mesh{.dp = 2, .pp = 2, .tp = 3};
  EXPECT_THAT(placement_problems(mesh, {{matrix("a", 7, {{0, Axis::kTp}}), matrix("norm", 5)}, {matrix("b", 9)}}),
              IsEmpty());
}

TEST(PlacementProblems, NameWhatHasTwoOwnersOrNone) {
  const MeshShape pipe{.pp = 2};
  EXPECT_THAT(placement_problems(pipe, {{matrix("a", 7)}, {matrix("a", 7)}}),
              Contains(AllOf(HasSubstr("\"a\""), HasSubstr("rank 0 and rank 1 both count [0:7, 0:4]"))));
  // Cut on an axis whose other places do not hold it.
  EXPECT_THAT(placement_problems(pipe, {{matrix("a", 7, {{0, Axis::kPp}})}, {}}),
              Contains(HasSubstr("\"a\" [7, 4]: ranks count 16 of its 28 elements")));
  ParamSpec unsaved = matrix("a", 7);
  unsaved.files[0].rows = 6;
  EXPECT_THAT(placement_problems(pipe, {{unsaved}, {}}), testing::Not(IsEmpty()));
}

// Seconds of one CPU: the machine may be busy.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

TEST(LayoutCheck, TakesLessThanTenSecondsFor4096Ranks) {
  Experiment experiment = small_experiment(small_model(config::Model::llama, false), 4096);
  experiment.model.set_layers(80);
  const Layout layout{.mesh = {.dp = 256, .pp = 16},
                      .schedule = Pipeline::interleaved_1f1b,
                      .chunks = 5,
                      .recompute = config::selective};
  const double begin = cpu_seconds();
  const LayoutCheck check = check_layout(experiment, layout, {.global_batch = 4096 * 2, .micro_batch = 1, .dp = 256});
  EXPECT_LT(cpu_seconds() - begin, 10);
  EXPECT_THAT(check.problems, IsEmpty());
  EXPECT_EQ(layout.mesh.ranks(), 4096);
}

}  // namespace
}  // namespace trireme
