#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "tests/cuda/parity/walk.h"

namespace trireme {
namespace {

using parity::Operand;
using parity::Trial;

struct Linear {
  oracle::Values y, dx, dw, dbias;
  bool operator==(const Linear&) const = default;
};

// The same numbers whatever `threads`; the first `rows` of 150.
Linear run(int threads, DType dtype, Order order, std::int64_t rows = 150) {
  const auto device = make_host_device({.threads = threads});
  Trial trial(*device, host_kernels(), "linear");
  constexpr std::int64_t kOutputs = 1030;
  constexpr std::int64_t kInputs = 140;
  const Operand x = trial.normal({150, kInputs}, dtype);
  const Operand w = trial.normal({kOutputs, kInputs}, dtype);
  const Operand bias = trial.normal({kOutputs}, dtype);
  const Operand dy = trial.normal({150, kOutputs}, dtype);
  const Operand y = trial.poisoned({rows, kOutputs}, dtype);
  const Operand dx = trial.poisoned({rows, kInputs}, dtype);
  const Operand dw = trial.normal({kOutputs, kInputs}, DType::kF32);
  const Operand dbias = trial.normal({kOutputs}, DType::kF32);
  const Tensor some_x = x.tensor.rows(0, rows);
  const Tensor some_dy = dy.tensor.rows(0, rows);
  trial.ops.linear_forward(trial.stream, y, some_x, w, bias, {}, order);
  trial.ops.linear_backward_input(trial.stream, dx, some_dy, w, Write::kOverwrite, order);
  trial.ops.linear_backward_weight(trial.stream, dw, dbias, some_dy, some_x, order);
  return {trial.read(y), trial.read(dx), trial.read(dw), trial.read(dbias)};
}

TEST(HostLinear, ExactOrderGivesTheSameBitsOnAnyNumberOfThreads) {
  for (DType dtype : parity::kActivationTypes) {
    const Linear one = run(1, dtype, Order::kExact);
    for (int threads : {2, 3, 8}) EXPECT_TRUE(run(threads, dtype, Order::kExact) == one) << name_of(dtype);
  }
}

TEST(HostLinear, ARowInExactOrderDoesNotDependOnHowManyFollow) {
  for (DType dtype : parity::kActivationTypes) {
    const Linear all = run(2, dtype, Order::kExact);
    for (std::int64_t rows : {1, 2, 63, 64, 65, 100}) {
      const Linear some = run(2, dtype, Order::kExact, rows);
      EXPECT_TRUE(std::equal(some.y.begin(), some.y.end(), all.y.begin())) << name_of(dtype) << " " << rows;
      EXPECT_TRUE(std::equal(some.dx.begin(), some.dx.end(), all.dx.begin())) << name_of(dtype) << " " << rows;
    }
  }
}

TEST(HostLinear, ColumnSumsDoNotDependOnTheThreadsInAnyOrder) {
  const oracle::Values one = run(1, DType::kBF16, Order::kFast).dbias;
  for (int threads : {2, 3}) EXPECT_EQ(run(threads, DType::kBF16, Order::kFast).dbias, one);
}

TEST(HostLinearDeathTest, RefusesShapesThatDoNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto device = make_host_device({});
        Trial trial(*device, host_kernels(), "linear");
        const Operand x = trial.normal({3, 4}, DType::kF32);
        const Operand w = trial.normal({5, 6}, DType::kF32);
        const Operand y = trial.poisoned({3, 5}, DType::kF32);
        trial.ops.linear_forward(trial.stream, y, x, w, {}, {}, Order::kFast);
      },
      "linear_forward: w is fp32\\[5, 6\\], should be fp32\\[5, 4\\]");
}

}  // namespace
}  // namespace trireme
