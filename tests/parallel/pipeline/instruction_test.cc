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
  for (int i = 0; i < count; ++i)
    schedule.push_back({*rc::gen::inRange(0, 200),
                        *rc::gen::element(Instruction::Kind::kForward, Instruction::Kind::kBackwardInput,
                                          Instruction::Kind::kBackwardWeight),
                        *rc::gen::inRange(0, 100000)});
  RC_ASSERT(parse_schedule("  " + to_string(schedule) + "\n") == schedule);
}

TEST(Schedule, WhatIsNotAnInstructionIsNamedWithItsPlace) {
  for (const char* text : {"0F0 2X0", "0F0 F0", "0F0 0F", "0F0 0F0x", "0F0 -1F0", "0F0 0F99999999999"})
    EXPECT_THAT(message_of([&] { parse_schedule(text); }), ::testing::HasSubstr("at character 5")) << text;
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
