#include "trainer/optim/learning_rate.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace trireme {
namespace {

config::Optimizer optimizer(config::Optimizer::Decay decay, std::int64_t warmup) {
  config::Optimizer options;
  options.set_learning_rate(1e-3);
  options.set_min_learning_rate(1e-4);
  options.set_warmup_steps(warmup);
  options.set_decay(decay);
  options.set_decay_fraction(0.25);
  return options;
}

TEST(LearningRate, RisesInEqualPartsAndIsAtItsPeakAfterTheWarmUp) {
  for (const auto decay : {config::Optimizer::cosine, config::Optimizer::wsd, config::Optimizer::constant}) {
    const config::Optimizer options = optimizer(decay, 10);
    for (std::int64_t step = 0; step < 10; ++step)
      EXPECT_DOUBLE_EQ(learning_rate(options, step, 100), 1e-4 * static_cast<double>(step + 1));
    EXPECT_DOUBLE_EQ(learning_rate(options, 10, 100), 1e-3);
  }
}

TEST(LearningRate, CosineIsHalfWayInTheMiddleAndAtItsFloorInTheLastStep) {
  const config::Optimizer options = optimizer(config::Optimizer::cosine, 10);
  EXPECT_NEAR(learning_rate(options, 10 + 45, 101), 5.5e-4, 1e-12);  // steps 10 to 100
  EXPECT_NEAR(learning_rate(options, 100, 101), 1e-4, 1e-12);
  for (std::int64_t step = 11; step <= 100; ++step)
    EXPECT_LT(learning_rate(options, step, 101), learning_rate(options, step - 1, 101));
}

TEST(LearningRate, WsdIsFlatAndThenFallsByEqualPartsToItsFloor) {
  const config::Optimizer options = optimizer(config::Optimizer::wsd, 10);
  for (std::int64_t step = 10; step < 75; ++step) EXPECT_DOUBLE_EQ(learning_rate(options, step, 100), 1e-3);
  for (std::int64_t step = 75; step < 100; ++step)
    EXPECT_NEAR(learning_rate(options, step, 100), 1e-3 - 9e-4 * static_cast<double>(step - 74) / 25, 1e-12);
}

TEST(LearningRate, ConstantStaysAtItsPeak) {
  const config::Optimizer options = optimizer(config::Optimizer::constant, 0);
  for (const std::int64_t step : {0, 1, 99, 1000}) EXPECT_DOUBLE_EQ(learning_rate(options, step, 100), 1e-3);
}

TEST(LearningRate, StaysBetweenFloorAndPeakForEveryLengthOfRun) {
  for (const auto decay : {config::Optimizer::cosine, config::Optimizer::wsd})
    for (std::int64_t steps = 1; steps < 30; ++steps)
      for (const std::int64_t warmup : {0, 1, 5, 40})
        for (std::int64_t step = std::min(warmup, steps); step < steps + 3; ++step) {
          const double rate = learning_rate(optimizer(decay, warmup), step, steps);
          EXPECT_GT(rate, 0);
          EXPECT_LE(rate, 1e-3 * (1 + 1e-12));
          if (step >= warmup) {
            EXPECT_GE(rate, 1e-4 * (1 - 1e-12)) << steps << " steps, step " << step;
          }
        }
}

TEST(LearningRate, AFloorAboveThePeakIsThePeak) {
  config::Optimizer options = optimizer(config::Optimizer::cosine, 0);
  options.set_min_learning_rate(1);
  for (std::int64_t step = 0; step < 10; ++step) EXPECT_DOUBLE_EQ(learning_rate(options, step, 10), 1e-3);
}

}  // namespace
}  // namespace trireme
