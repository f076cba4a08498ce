#include "parallel/pipeline/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "parallel/pipeline/draw.h"
#include "parallel/pipeline/transfers.h"

namespace trireme {
namespace {

using testing::HasSubstr;

Schedules parsed(const std::vector<const char*>& lists) {
  Schedules schedules;
  for (const char* list : lists) schedules.push_back(parse_schedule(list));
  return schedules;
}

TEST(Transfers, StandRightBeforeAndAfterWhatNeedsThemAndAfterAFusedBackward) {
  const Schedules with = insert_transfers({2, 1}, parsed({"0F0 0B0 0W0", "1F0 1B0 1W0"}));
  EXPECT_EQ(to_string(with[0]), "0F0 0S0 0r0 0B0 0W0");
  EXPECT_EQ(to_string(with[1]), "1R0 1F0 1B0 1W0 1s0");
  const Schedules apart = insert_transfers({2, 1}, parsed({"0F0 0B0 0W0", "1F0 1F1 1B0 1B1 1W0 1W1"}));
  EXPECT_EQ(to_string(apart[1]), "1R0 1F0 1R1 1F1 1B0 1s0 1B1 1s1 1W0 1W1");
}

TEST(Transfers, AreNoneBetweenStagesOfOneRank) {
  EXPECT_EQ(to_string(insert_transfers({1, 2}, parsed({"0F0 1F0 1B0 1W0 0B0 0W0"}))[0]), "0F0 1F0 1B0 1W0 0B0 0W0");
}

// Two stages on each of two ranks, forward: both send before either receives, so with rendezvous sends neither ever
// comes to receive.
const PipelineShape kTwoByTwo{2, 2};
const std::vector<const char*> kCrossed = {"0F0 0S0 0F1 0S1 2R0 2F0 2S0 2R1 2F1 2S1",
                                           "1R0 1F0 1S0 1R1 1F1 1S1 3R0 3F0 3R1 3F1"};

TEST(Simulator, ReportsADeadlockWithThePlaceMarked) {
  const Simulation simulation = simulate(kTwoByTwo, parsed(kCrossed), {});
  ASSERT_TRUE(simulation.deadlock);
  EXPECT_EQ(deadlock_report(parsed(kCrossed), *simulation.deadlock),
            "schedule: the ranks wait for each other and none can go on\n"
            "  rank 0: 0F0 0S0 0F1 >0S1< 2R0 2F0 2S0 2R1 2F1 ... (waits for 1R1 of rank 1)\n"
            "  rank 1: 1R0 1F0 >1S0< 1R1 1F1 1S1 3R0 3F0 ... (waits for 2R0 of rank 0)\n");
}

TEST(Simulator, JoinsWhatWouldDeadlockAndNothingElse) {
  const Schedules joined = join_deadlocks(kTwoByTwo, parsed(kCrossed));
  EXPECT_EQ(to_string(joined[0]), "0F0 0S0 0F1 0S1 +2R0 2F0 2S0 +2R1 2F1 2S1");
  EXPECT_EQ(to_string(joined[1]), "1R0 1F0 1S0 +1R1 1F1 1S1 +3R0 3F0 3R1 3F1");
  EXPECT_FALSE(simulate(kTwoByTwo, joined, {}).deadlock);
}

TEST(Simulator, FindsNothingToJoinWhereActivationsGoOneWayAndGradientsTheOther) {
  for (const config::Pipeline::Schedule kind : {config::Pipeline::gpipe, config::Pipeline::one_f_one_b})
    for (const Schedule& schedule : pipeline_schedules(kind, {4, 1}, 8))
      for (const Instruction& each : schedule) EXPECT_FALSE(each.joined) << to_string(schedule);
}

TEST(Simulator, LetsComputingWaitForAllThatIsJoined) {
  const Schedules joined = join_deadlocks(kTwoByTwo, parsed(kCrossed));
  const Simulation simulation = simulate(kTwoByTwo, joined, {.forward = 1, .transfer = 1});
  EXPECT_EQ(simulation.timeline[1][0].begin, 2);  // 1F0, received from 1 to 2
  EXPECT_EQ(simulation.timeline[1][1].begin, 4);  // 1F1: 1R1 and 1S0 begin when 1F0 ends, at 3
  EXPECT_EQ(simulation.timeline[0][2].begin, 4);  // 2F0: 2R0 waits for 1S0
}

TEST(Simulator, RefusesWhatJoiningDoesNotHelp) {
  const Schedules hopeless = parsed({"0F0 0r0 0B0 0W0 0S0", "1R0 1F0 1B0 1W0 1s0"});
  try {
    join_deadlocks({2, 1}, hopeless);
    ADD_FAILURE() << "no refusal";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank 0: 0F0 >0r0< 0B0"));
  }
}

// One of the mistakes that others ship: a stage takes its micro-batches in another order than its neighbours.
TEST(Simulator, FindsAStageWhoseMicroBatchesAreSwapped) {
  for (const config::Pipeline::Schedule kind :
       {config::Pipeline::gpipe, config::Pipeline::one_f_one_b, config::Pipeline::interleaved_1f1b})
    for (const int culprit : {0, 1, 2}) {
      const PipelineShape shape{3, kind == config::Pipeline::interleaved_1f1b ? 2 : 1};
      Schedules schedules = pipeline_schedules(kind, shape, 6);
      for (Instruction& each : schedules[static_cast<std::size_t>(culprit)])
        if (each.micro_batch < 2) each.micro_batch = 1 - each.micro_batch;
      EXPECT_TRUE(simulate(shape, schedules, {}).deadlock) << "rank " << culprit;
    }
}

TEST(Simulator, FindsAMicroBatchThatIsForgotten) {
  Schedules schedules = one_f_one_b(2, 3);
  std::erase_if(schedules[1], [](const Instruction& each) { return each.micro_batch == 1; });
  EXPECT_TRUE(simulate({2, 1}, insert_transfers({2, 1}, schedules), {}).deadlock);
}

TEST(Simulator, ComputesBesideSendsAndWaitsForReceives) {
  const Schedules schedules = pipeline_schedules(config::Pipeline::gpipe, {2, 1}, 2);
  const Simulation simulation =
      simulate({2, 1}, schedules, {.forward = 2, .backward_input = 3, .backward_weight = 1, .transfer = 0.5});
  // rank 0: F 0-2, 2-4. rank 1: F 2.5-4.5, 4.5-6.5 (its second input is received once the first is computed: 4.5-5).
  const std::vector<Slot>& first = simulation.timeline[0];
  const std::vector<Slot>& second = simulation.timeline[1];
  EXPECT_EQ(first[1].begin, 2);
  EXPECT_EQ(second[0].begin, 2.5);
  EXPECT_EQ(second[1].begin, 5);
  EXPECT_EQ(second[2].begin, 7);    // B0, then W0 to 11
  EXPECT_EQ(first[2].begin, 11.5);  // B0
  EXPECT_EQ(first.back().end, 20);  // W1 of what it could receive when W0 was done: 15.5 to 16
  EXPECT_EQ(simulation.makespan, 20);
  EXPECT_EQ(simulation.peak_saved, (std::vector<int>{2, 2}));
  EXPECT_DOUBLE_EQ(simulation.bubble, 0.4);
}

TEST(Timeline, IsBrokenWhereItIsWiderThanThePage) {
  const PipelineShape shape{2, 1};
  const Simulation simulation = simulate(shape, pipeline_schedules(config::Pipeline::gpipe, shape, 1), {});
  EXPECT_EQ(draw_timeline(simulation, shape, 80),
            "rank 0 F0 .  .  .  B0 W0\n"
            "rank 1 .  F0 B0 W0 .  .\n");
  EXPECT_EQ(draw_timeline(simulation, shape, 20),
            "time 0 to 4\n"
            "rank 0 F0 .  .  .\n"
            "rank 1 .  F0 B0 W0\n"
            "\n"
            "time 4 to 6\n"
            "rank 0 B0 W0\n"
            "rank 1 .  .\n");
}

}  // namespace
}  // namespace trireme
