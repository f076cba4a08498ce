#include "parallel/pipeline/schedules.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "parallel/pipeline/draw.h"
#include "parallel/pipeline/simulate.h"
#include "parallel/pipeline/transfers.h"
#include "tests/paths.h"

namespace trireme {
namespace {

using Kind = Instruction::Kind;
using config::Pipeline;
using testing::HasSubstr;

struct Case {
  Pipeline::Schedule kind = Pipeline::gpipe;
  PipelineShape shape;
  int micro_batches = 1;
};

Case any_case() {
  Case drawn;
  drawn.kind = *rc::gen::element(Pipeline::gpipe, Pipeline::one_f_one_b, Pipeline::interleaved_1f1b);
  drawn.shape.ranks = *rc::gen::inRange(1, 9);
  drawn.micro_batches = *rc::gen::inRange(1, 20);
  if (drawn.kind == Pipeline::interleaved_1f1b) {
    drawn.shape.chunks = *rc::gen::inRange(1, 5);
    drawn.micro_batches = drawn.shape.ranks * *rc::gen::inRange(1, 5);
  }
  return drawn;
}

Simulation simulated(const Case& what, const Costs& costs = {}) {
  return simulate(what.shape, pipeline_schedules(what.kind, what.shape, what.micro_batches), costs);
}

// The grid of a paper's figure, then every rank's list.
std::string picture(const Case& what) {
  const Schedules schedules = pipeline_schedules(what.kind, what.shape, what.micro_batches);
  std::string text = draw_timeline(simulate(what.shape, schedules, {}), what.shape, 1000) + "\n";
  for (const Schedule& schedule : schedules) text += to_string(schedule) + "\n";
  return text;
}

std::string golden(const std::string& name) {
  std::ifstream file(std::string(TRIREME_SOURCE_DIR) + "/tests/parallel/pipeline/" + name);
  std::string text, line;
  while (std::getline(file, line))
    if (!line.starts_with('#')) text += line + "\n";
  return text;
}

// Each file names its figure in its first lines.
TEST(ScheduleFigures, AreThoseOfThePapers) {
  const std::map<std::string, Case> figures = {
      {"gpipe-4-ranks-4-micro-batches.txt", {Pipeline::gpipe, {4, 1}, 4}},
      {"gpipe-4-ranks-8-micro-batches.txt", {Pipeline::gpipe, {4, 1}, 8}},
      {"1f1b-4-ranks-8-micro-batches.txt", {Pipeline::one_f_one_b, {4, 1}, 8}},
      {"1f1b-4-ranks-2-micro-batches.txt", {Pipeline::one_f_one_b, {4, 1}, 2}},
      {"interleaved-4-ranks-2-chunks-8-micro-batches.txt", {Pipeline::interleaved_1f1b, {4, 2}, 8}},
  };
  for (const auto& [name, what] : figures) EXPECT_EQ(picture(what), golden(name)) << name << "\n" << picture(what);
}

RC_GTEST_PROP(Schedules, ComputeEveryMicroBatchOfEveryStageOnceOnItsRank, ()) {
  const Case what = any_case();
  const Schedules schedules = pipeline_schedules(what.kind, what.shape, what.micro_batches);
  RC_ASSERT(schedules.size() == static_cast<std::size_t>(what.shape.ranks));
  std::set<std::pair<int, int>> seen;
  for (int rank = 0; rank < what.shape.ranks; ++rank) {
    check_schedule(schedules[static_cast<std::size_t>(rank)]);
    std::map<std::pair<int, char>, int> next;  // (stage, F or B or W) -> micro-batch
    for (const Instruction& each : schedules[static_cast<std::size_t>(rank)]) {
      RC_ASSERT(what.shape.rank_of(each.stage) == rank);
      if (each.is_transfer()) continue;
      RC_ASSERT(each.micro_batch == (next[{each.stage, static_cast<char>(each.kind)}]++));
      if (each.kind == Kind::kForward) RC_ASSERT(seen.insert({each.stage, each.micro_batch}).second);
    }
  }
  RC_ASSERT(seen.size() == static_cast<std::size_t>(what.shape.stages() * what.micro_batches));
}

RC_GTEST_PROP(Schedules, NeverDeadlockUnderRendezvousSends, ()) {
  const Case what = any_case();
  const Costs costs{.forward = 1.0 * *rc::gen::inRange(1, 5),
                    .backward_input = 1.0 * *rc::gen::inRange(1, 5),
                    .backward_weight = 1.0 * *rc::gen::inRange(1, 5),
                    .transfer = 0.5 * *rc::gen::inRange(0, 4)};
  RC_ASSERT(!simulated(what, costs).deadlock);
}

RC_GTEST_PROP(Schedules, SendEveryResultToTheRankThatReceivesIt, ()) {
  const Case what = any_case();
  std::map<std::string, int> sent, received;
  for (const Schedule& schedule : pipeline_schedules(what.kind, what.shape, what.micro_batches))
    for (const Instruction& each : schedule) {
      if (each.is_send()) ++sent[to_string(counterpart(each))];
      if (each.is_receive()) ++received[to_string({each.stage, each.kind, each.micro_batch})];
    }
  const int between = what.shape.ranks == 1 ? 0 : what.shape.stages() - 1;
  RC_ASSERT(sent == received);
  RC_ASSERT(sent.size() == static_cast<std::size_t>(2 * between * what.micro_batches));
}

RC_GTEST_PROP(OneFOneB, NeverHoldsMoreMicrobatchesThanStagesAhead, ()) {
  const PipelineShape shape{*rc::gen::inRange(1, 9), 1};
  const int micro_batches = *rc::gen::inRange(1, 20);
  const Simulation simulation = simulated({Pipeline::one_f_one_b, shape, micro_batches});
  for (int rank = 0; rank < shape.ranks; ++rank)
    RC_ASSERT(simulation.peak_saved[static_cast<std::size_t>(rank)] == std::min(micro_batches, shape.ranks - rank));
}

RC_GTEST_PROP(GPipe, HoldsEveryMicroBatch, ()) {
  const PipelineShape shape{*rc::gen::inRange(1, 9), 1};
  const int micro_batches = *rc::gen::inRange(1, 20);
  for (const int peak : simulated({Pipeline::gpipe, shape, micro_batches}).peak_saved) RC_ASSERT(peak == micro_batches);
}

// (p - 1) / (m + p - 1) of the time, arXiv:1811.06965, section 2.2; arXiv:2104.04473 gives (p - 1) / m of the rest.
RC_GTEST_PROP(Bubble, OfGPipeAndOneFOneBIsThePapers, ()) {
  const int ranks = *rc::gen::inRange(1, 9), micro_batches = *rc::gen::inRange(1, 20);
  const double paper = static_cast<double>(ranks - 1) / (micro_batches + ranks - 1);
  for (const Pipeline::Schedule kind : {Pipeline::gpipe, Pipeline::one_f_one_b}) {
    const Simulation simulation = simulated({kind, {ranks, 1}, micro_batches});
    RC_ASSERT(std::abs(simulation.bubble - paper) < 1e-12);
    RC_ASSERT(simulation.makespan == 3.0 * (micro_batches + ranks - 1));
  }
}

// arXiv:2104.04473, section 2.2: the same work in v pieces leaves a v-th of the idle time.
RC_GTEST_PROP(Bubble, OfInterleavedOneFOneBIsThatOfOneFOneBDividedByTheChunks, ()) {
  const int ranks = *rc::gen::inRange(1, 9), chunks = *rc::gen::inRange(1, 5);
  const int micro_batches = ranks * *rc::gen::inRange(1, 5);
  const double piece = 1.0 / chunks;
  const Simulation simulation = simulated({Pipeline::interleaved_1f1b, {ranks, chunks}, micro_batches},
                                          {.forward = piece, .backward_input = piece, .backward_weight = piece});
  const double idle = simulation.makespan - 3.0 * micro_batches;
  RC_ASSERT(std::abs(idle - 3.0 * (ranks - 1) / chunks) < 1e-9);
}

std::string refusal(Pipeline::Schedule kind, PipelineShape shape, int micro_batches) {
  try {
    pipeline_schedules(kind, shape, micro_batches);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Schedules, AreRefusedWithTheNearestNumberOfMicroBatchesThatTheirDefinitionAdmits) {
  EXPECT_THAT(refusal(Pipeline::interleaved_1f1b, {4, 2}, 6), HasSubstr("not 6 but 4 or 8"));
  EXPECT_THAT(refusal(Pipeline::interleaved_1f1b, {4, 2}, 3), HasSubstr("not 3 but 4"));
  EXPECT_EQ(refusal(Pipeline::interleaved_1f1b, {4, 2}, 4), "");
  EXPECT_THAT(refusal(Pipeline::one_f_one_b, {4, 2}, 4), HasSubstr("2 chunks a rank"));
  EXPECT_THAT(refusal(Pipeline::gpipe, {4, 1}, 0), HasSubstr("at least 1"));
  for (int micro_batches = 1; micro_batches < 9; ++micro_batches)
    EXPECT_EQ(refusal(Pipeline::one_f_one_b, {4, 1}, micro_batches), "");
}

TEST(StageBlocks, AreTheLayersInOrderWithTheLargerStagesFirst) {
  EXPECT_EQ(blocks_of(7, 3, 0), (StageBlocks{0, 3}));
  EXPECT_EQ(blocks_of(7, 3, 1), (StageBlocks{3, 5}));
  EXPECT_EQ(blocks_of(7, 3, 2), (StageBlocks{5, 7}));
  for (int layers = 1; layers < 20; ++layers)
    for (int stages = 1; stages <= layers; ++stages) {
      int next = 0;
      for (int stage = 0; stage < stages; ++stage) {
        const StageBlocks blocks = blocks_of(layers, stages, stage);
        EXPECT_EQ(blocks.first, next);
        EXPECT_GE(blocks.last - blocks.first, layers / stages);
        EXPECT_LE(blocks.last - blocks.first, (layers + stages - 1) / stages);
        next = blocks.last;
      }
      EXPECT_EQ(next, layers);
    }
}

}  // namespace
}  // namespace trireme
