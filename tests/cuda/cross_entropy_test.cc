#include "tests/cuda/oracle/cross_entropy.h"

#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "tests/cuda/parity/walk.h"

namespace trireme {
namespace {

using oracle::Values;
using parity::Operand;
using parity::Trial;

TEST(HostCrossEntropy, GivesTheSameBitsOnAnyNumberOfThreads) {
  const auto run = [](int threads) {
    const auto device = make_host_device({.threads = threads});
    Trial trial(*device, host_kernels(), "cross entropy");
    const CrossEntropy options{0, 2500, 2500, 0.1f, 0.01f};
    const Operand logits = trial.normal({21, 2501}, DType::kF32, 3);
    const Operand targets = trial.integers({21}, DType::kI32, 0, 2499);
    const Operand weights = trial.integers({21}, DType::kF32, 0, 1);
    const Operand scale = trial.given({1}, DType::kF32, {0.1});
    const Operand statistics = trial.poisoned({21, 4}, DType::kF32);
    const Operand dlogits = trial.poisoned({21, 2501}, DType::kBF16);
    trial.ops.cross_entropy_statistics(trial.stream, statistics, logits, targets, options);
    trial.ops.cross_entropy_backward(trial.stream, dlogits, logits, statistics, targets, weights, scale, options);
    return std::pair{trial.read(statistics), trial.read(dlogits)};
  };
  const auto one = run(1);
  for (int threads : {2, 3}) EXPECT_EQ(run(threads), one);
}

TEST(HostCrossEntropy, LosesNothingToLargeLogits) {
  const auto device = make_host_device({});
  Trial trial(*device, host_kernels(), "cross entropy");
  const CrossEntropy options{0, 3, 3, 0, 0};
  const double infinity = std::numeric_limits<double>::infinity();
  const Operand logits = trial.given({2, 3}, DType::kF32, {3e38, 3e38, -3e38, -infinity, 5, -infinity});
  const Operand targets = trial.given({2}, DType::kI32, {0, 1});
  const Operand statistics = trial.poisoned({2, 4}, DType::kF32);
  trial.ops.cross_entropy_statistics(trial.stream, statistics, logits, targets, options);
  const Values got = trial.read(statistics);
  EXPECT_EQ(got[1], 2);
  EXPECT_EQ(got[4], 5);
  EXPECT_EQ(got[5], 1);
}

TEST(HostCrossEntropy, AMaskedRowCostsNothingWhateverItHolds) {
  const auto device = make_host_device({});
  Trial trial(*device, host_kernels(), "cross entropy");
  const CrossEntropy options{0, 3, 3, 0.1f, 0.1f};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Operand logits = trial.given({1, 3}, DType::kF32, {nan, 1, 2});
  const Operand targets = trial.given({1}, DType::kI32, {-100});
  const Operand weights = trial.given({1}, DType::kF32, {0});
  const Operand scale = trial.given({1}, DType::kF32, {1});
  const Operand statistics = trial.poisoned({1, 4}, DType::kF32);
  const Operand loss = trial.poisoned({1}, DType::kF32);
  const Operand dlogits = trial.poisoned({1, 3}, DType::kF32);
  trial.ops.cross_entropy_statistics(trial.stream, statistics, logits, targets, options);
  trial.ops.cross_entropy_loss(trial.stream, loss, statistics, weights, options);
  trial.ops.cross_entropy_backward(trial.stream, dlogits, logits, statistics, targets, weights, scale, options);
  EXPECT_EQ(trial.read(loss), Values({0}));
  EXPECT_EQ(trial.read(dlogits), Values({0, 0, 0}));
}

TEST(HostCrossEntropy, ANanAmongTheLogitsReachesTheLoss) {
  const auto device = make_host_device({});
  for (std::int64_t at : {0, 20, 1030}) {
    Trial trial(*device, host_kernels(), "cross entropy");
    const CrossEntropy options{0, 1100, 1100, 0, 0};
    Values values(1100, 1.0);
    values[static_cast<std::size_t>(at)] = std::numeric_limits<double>::quiet_NaN();
    const Operand logits = trial.given({1, 1100}, DType::kF32, values);
    const Operand targets = trial.given({1}, DType::kI32, {3});
    const Operand weights = trial.given({1}, DType::kF32, {1});
    const Operand statistics = trial.poisoned({1, 4}, DType::kF32);
    const Operand loss = trial.given({1}, DType::kF32, {0});
    trial.ops.cross_entropy_statistics(trial.stream, statistics, logits, targets, options);
    trial.ops.cross_entropy_loss(trial.stream, loss, statistics, weights, options);
    EXPECT_TRUE(std::isnan(trial.read(loss)[0])) << at;
  }
}

}  // namespace
}  // namespace trireme
