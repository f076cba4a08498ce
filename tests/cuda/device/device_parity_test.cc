// The CUDA back end computes what the oracles say. Where there is no GPU it runs under the stand-in (tests/gpu), which
// looks for races and stray accesses meanwhile.
#include <gtest/gtest.h>

#include "cuda/back_end.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {

void PrintTo(const Case& one, std::ostream* out) { *out << one.op; }

namespace {

class CudaParity : public testing::TestWithParam<Case> {};

TEST_P(CudaParity, ComputesWhatTheOracleDoes) {
  const BackEnd back_end = open_back_end(BackEndChoice::kAuto, {}, 0, 1);
  if (!back_end.is_cuda) GTEST_SKIP() << "needs nvcc: " << back_end.description;
  const Report report = run_case(GetParam(), *back_end.device, *back_end.kernels);
  EXPECT_FALSE(report.empty());
  EXPECT_TRUE(all_agree(report)) << back_end.description << "\n" << to_string(report);
}
INSTANTIATE_TEST_SUITE_P(OfEveryOp, CudaParity, testing::ValuesIn(all_cases()),
                         [](const auto& one) { return one.param.op; });

}  // namespace
}  // namespace trireme::parity
