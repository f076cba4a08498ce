#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/op_bench.h"
#include "launch/bench/own_steps.h"
#include "launch/bench/step_bench.h"
#include "launch/command_line/commands.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Gt;
using testing::HasSubstr;

const std::string kSmallest = "1x64x8x70x2";

// A peer that is not PyTorch: a shell script in its place.
class FakePeer {
 public:
  explicit FakePeer(const std::string& lines)
      : path_(testing::TempDir() + "/trireme_peer_" + testing::UnitTest::GetInstance()->current_test_info()->name() +
              ".sh") {
    std::ofstream(path_) << lines;
  }
  ~FakePeer() { std::filesystem::remove(path_); }
  PeerCommand command() const { return {.python = "/bin/sh", .script = path_}; }

 private:
  std::string path_;
};

std::string error_beside(const FakePeer& peer) {
  const PeerCommand command = peer.command();
  try {
    measure_steps({.workload = workload_named(kSmallest)}, &command, [](const std::string&) {});
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(BenchWorkload, NamesTwoSizesAndReadsOthers) {
  EXPECT_EQ(workload_named("tiny").tokens(), 2048);
  EXPECT_EQ(workload_named("small").heads(), 12);
  EXPECT_EQ(workload_named(kSmallest).vocabulary, 70);
  for (const char* wrong : {"huge", "1x64x8x70", "1x64x8x70x2x", "0x64x8x70x2", "1x65x8x70x2", "1x64x8x70x-2", ""})
    EXPECT_THROW(workload_named(wrong), UserError) << wrong;
}

TEST(BenchOps, MeasureEveryOpOfTheTable) {
  std::set<std::string> names;
  for (const OpCase& which : op_cases()) names.insert(which.op);
  EXPECT_EQ(names.size(), sizeof(Kernels) / sizeof(void (*)()));

  MpiWorld world;
  Rank rank(world, config::auto_, 1);
  std::set<std::string> measured;
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const OpResult& result : measure_ops(rank.context(), workload_named(kSmallest), dtype, "", 0)) {
      EXPECT_GT(result.work.bytes, 0) << result.op;
      EXPECT_TRUE(std::isfinite(result.seconds)) << result.op;
      measured.insert(result.op);
    }
  EXPECT_EQ(measured, names);
}

TEST(BenchSteps, TrainTheModelTheyTime) {
  for (const config::Precision precision : {config::fp32, config::bf16}) {
    OwnSteps own(workload_named(kSmallest), precision, 1);
    EXPECT_THAT(own.seconds_of(3), AllOf(testing::SizeIs(3), Each(Gt(0.0))));
    EXPECT_NEAR(own.loss(), std::log(128), 0.2);  // random targets, and a vocabulary padded to 128
  }
}

TEST(BenchSteps, PairEachTurnWithThePeers) {
  const FakePeer peer("echo ready fake\nwhile read n; do echo 40 60; done\n");
  const PeerCommand command = peer.command();
  int lines = 0;
  const StepResult result = measure_steps({.workload = workload_named(kSmallest), .steps = 2, .alternations = 5},
                                          &command, [&](const std::string&) { ++lines; });
  EXPECT_EQ(result.peer, "fake");
  EXPECT_THAT(result.peer_seconds, AllOf(testing::SizeIs(5), Each(50.0)));
  ASSERT_EQ(result.ratios().size(), 5u);
  EXPECT_DOUBLE_EQ(result.ratios()[2], 50 / result.own_seconds[2]);
  EXPECT_EQ(lines, 5);
}

TEST(BenchSteps, SayWhatIsWrongWithThePeer) {
  EXPECT_THAT(error_beside(FakePeer("exit 3\n")), AllOf(HasSubstr("no PyTorch"), HasSubstr("launch/setup")));
  EXPECT_THAT(error_beside(FakePeer("exit 1\n")), HasSubstr("exit code 1"));
  EXPECT_THAT(error_beside(FakePeer("kill -9 $$\n")), HasSubstr("signal 9"));
  EXPECT_THAT(error_beside(FakePeer("echo hello\n")), HasSubstr("\"hello\""));
  EXPECT_THAT(error_beside(FakePeer("echo ready\n\n")), HasSubstr("\"ready\""));
  EXPECT_THAT(error_beside(FakePeer("echo ready x\nread n\necho nothing\n")), HasSubstr("\"nothing\""));
}

TEST(BenchSteps, MedianIsTheMiddle) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
}

TEST(BenchCommand, PrintsAndRefuses) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_program({"bench", "ops", "--size", kSmallest, "--filter", "gelu", "--seconds", "0"}), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), AllOf(HasSubstr("gelu_backward"), HasSubstr("GB/s")));
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_program({"bench", "step", "--size", kSmallest, "--compare", "--python", "/no/such/python"}), 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/no/such/python"));
}

}  // namespace
}  // namespace trireme
