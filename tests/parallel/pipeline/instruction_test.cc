#include "parallel/pipeline/instruction.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"

namespace trireme {

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Schedule, OneStageTakesEachMicroBatchForwardAndBackAtOnce) {
  EXPECT_EQ(to_string(one_stage(2)), "0F0 0B0 0W0 0F1 0B1 0W1");
  check_schedule(one_stage(7));
}

RC_GTEST_PROP(Schedule, PrintsAndParsesBack, ()) {
  Schedule schedule;
  const auto count = *rc::gen::inRange(0, 40);
  using Kind = Instruction::Kind;
  for (int i = 0; i < count; ++i) {
    schedule.push_back(
        {*rc::gen::inRange(0, 200),
         *rc::gen::element(Kind::kForward, Kind::kBackwardInput, Kind::kBackwardWeight, Kind::kSendOutput,
                           Kind::kReceiveInput, Kind::kSendGradient, Kind::kReceiveGradient),
         *rc::gen::inRange(0, 100000)});
    if (schedule.back().is_transfer()) schedule.back().joined = *rc::gen::arbitrary<bool>();
  }
  RC_ASSERT(parse_schedule("  " + to_string(schedule) + "\n") == schedule);
}

TEST(Schedule, WhatIsNotAnInstructionIsNamedWithItsPlace) {
  for (const char* text :
       {"0F0 2X0", "0F0 F0", "0F0 0F", "0F0 0F0x", "0F0 -1F0", "0F0 0F99999999999", "0F0 +0B0", "0F0 ++0S0"})
    EXPECT_THAT(message_of([&] { parse_schedule(text); }), ::testing::HasSubstr("at character 5")) << text;
}

TEST(Schedule, WhatATransferMeetsIsTheOtherStagesPart) {
  for (const char* pair : {"1S3 2R3", "2s3 1r3"}) {
    const Schedule both = parse_schedule(pair);
    EXPECT_EQ(counterpart(both[0]), both[1]);
    EXPECT_EQ(counterpart(both[1]), both[0]);
  }
}

TEST(Schedule, AMicroBatchGoesForwardThenBackThenToTheWeightsOnce) {
  EXPECT_THAT(message_of([] { check_schedule(parse_schedule("0F0 0W0")); }),
              ::testing::HasSubstr("0W0 comes where B is due"));
  EXPECT_THAT(message_of([] { check_schedule(parse_schedule("0F0 0B0")); }),
              ::testing::HasSubstr("ends without its W"));
  EXPECT_THAT(message_of([] { check_schedule(parse_schedule("0F0 0B0 0W0 0F0")); }),
              ::testing::HasSubstr("is finished"));
}

}  // namespace trireme
