#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/command_line/ended.h"

namespace trireme {
namespace {

using testing::HasSubstr;

TEST(ScheduleCommand, DrawsTheGridWithItsBubbleAndPeakActivations) {
  const Ended ended = run({"schedule", "1f1b", "--stages", "2", "--micro-batches", "3"});
  EXPECT_EQ(ended.exit_code, 0) << ended.errors;
  EXPECT_EQ(ended.output,
            "1f1b, 2 ranks, 3 micro-batches\n"
            "\n"
            "rank 0 F0 F1 .  .  B0 W0 F2 B1 W1 .  B2 W2\n"
            "rank 1 .  F0 B0 W0 F1 B1 W1 F2 B2 W2 .  .\n"
            "\n"
            "F3: micro-batch 3 forward; B: the gradient of its input; W: the gradient of the weights; a dot: idle.\n"
            "Each takes one unit of time here, and what travels between ranks none.\n"
            "\n"
            "bubble: 25.0 % of the time, 3 of 12 units on each rank\n"
            "saved activations at most, rank by rank: 2 1 micro-batches\n");
}

TEST(ScheduleCommand, NamesTheStageWhereRanksHoldSeveral) {
  const Ended ended = run({"schedule", "interleaved-1f1b", "--stages", "2", "--micro-batches", "2", "--chunks", "2"});
  EXPECT_EQ(ended.exit_code, 0) << ended.errors;
  EXPECT_THAT(ended.output, HasSubstr("2 stages a rank"));
  EXPECT_THAT(ended.output, HasSubstr("3F1"));
}

TEST(ScheduleCommand, RefusesWithWhatWouldDo) {
  const auto refused = [](const std::vector<std::string>& arguments) {
    const Ended ended = run(arguments);
    EXPECT_EQ(ended.exit_code, 2);
    EXPECT_EQ(ended.output, "");
    return ended.errors;
  };
  EXPECT_THAT(refused({"schedule", "1f1", "--stages", "4", "--micro-batches", "8"}), HasSubstr("did you mean 1f1b?"));
  EXPECT_THAT(refused({"schedule", "zigzag", "--stages", "4", "--micro-batches", "8"}),
              HasSubstr("there are gpipe, 1f1b, interleaved-1f1b"));
  EXPECT_THAT(refused({"schedule", "interleaved-1f1b", "--stages", "4", "--micro-batches", "6", "--chunks", "2"}),
              HasSubstr("not 6 but 4 or 8"));
  EXPECT_THAT(refused({"schedule", "gpipe", "--stages", "4", "--micro-batches", "8", "--chunks", "2"}),
              HasSubstr("2 chunks a rank"));
  EXPECT_THAT(refused({"schedule", "gpipe", "--stages", "0", "--micro-batches", "8"}), HasSubstr("--stages"));
  EXPECT_THAT(refused({"schedule", "gpipe", "--stages", "4"}), HasSubstr("--micro-batches"));
}

}  // namespace
}  // namespace trireme
