// Ranks beside one rank: what is measured, and that anybody can.
#include "launch/bench/scaling.h"

#include <cstdlib>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/exposure.h"
#include "launch/command_line/commands.h"
#include "monitoring/error.h"
#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kSmallest = "2x128x8x70x4";  // two heads: tp cuts them

TEST(Exposure, IsTheTimeThatTheComputeStreamWaitedOrWasInACallItself) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const auto span = [&](const char* track, std::int64_t begin, std::int64_t end) {
    return TraceEvent{track, "x", 1, begin * kSecond, end * kSecond};
  };
  const std::vector<TraceEvent> events = {
      span("compute", 0, 30),                    // has no part in it
      span("communication", 0, 5),               // of which 2 count from second 3 on
      span("communication", 10, 14),             // hidden, but for what follows
      span("waits for peers", 13, 14),           //
      span("gradients between stages", 12, 16),  // overlaps with the second
      span("activations between stages", 20, 22),
      span("waits for peers", 20, 22),
      span("waits for peers", 21, 22),    // counts once
      span("tensor parallelism", 25, 28)  // on the compute stream
  };
  const Exposure all = exposure_of(events, 0);
  EXPECT_DOUBLE_EQ(all.communication_seconds, 5 + 6 + 2 + 3);
  EXPECT_DOUBLE_EQ(all.exposed_seconds, 1 + 2 + 3);
  const Exposure later = exposure_of(events, 3 * kSecond);
  EXPECT_DOUBLE_EQ(later.communication_seconds, 2 + 6 + 2 + 3);
  const Exposure last = exposure_of(events, 26 * kSecond);
  EXPECT_DOUBLE_EQ(last.communication_seconds, 2);
  EXPECT_DOUBLE_EQ(last.exposed_seconds, 2);
  EXPECT_EQ(exposure_of(events, 30 * kSecond).communication_seconds, 0);
}

TEST(BenchLayout, IsWrittenInFewWords) {
  const Workload tiny = workload_named("tiny");
  const BenchLayout both = bench_layout("dp=2,pp=3,zero=1,micro-batch=2", tiny);
  EXPECT_EQ(both.layout.mesh, (MeshShape{.dp = 2, .pp = 3}));
  EXPECT_EQ(both.layout.zero_stage, 1);
  EXPECT_EQ(both.batch_plan(tiny, 0).micro_batches(), 2);
  EXPECT_EQ(bench_layout("dp=2", tiny).micro_batch, 4);
  EXPECT_EQ(bench_layout("pp=2", tiny).batch_plan(tiny, 1).micro_batches(), 8);
  EXPECT_DOUBLE_EQ(bench_layout("pp=2", tiny).simulated_bubble(tiny), 1.0 / 9);
  EXPECT_EQ(bench_layout("tp=2", tiny).simulated_bubble(tiny), 0);
}

TEST(BenchLayout, RefusesWhatCannotBe) {
  const Workload tiny = workload_named("tiny");
  const auto reason = [&](const std::string& text) {
    try {
      bench_layout(text, tiny);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_THAT(reason("dp=0"), HasSubstr("\"0\" is no whole number from 1"));
  EXPECT_THAT(reason("dp=2x"), HasSubstr("\"2x\""));
  EXPECT_THAT(reason("dp=2,cp=2"), AllOf(HasSubstr("--layout dp=2,cp=2"), HasSubstr("\"cp=2\" is none of dp=N")));
  EXPECT_THAT(reason("dp"), HasSubstr("\"dp\" is none of"));
  EXPECT_THAT(reason(""), HasSubstr("name axes"));
  EXPECT_THAT(reason("dp=1"), HasSubstr("name axes"));
  EXPECT_THAT(reason("dp=16"), HasSubstr("batch of 8"));
  EXPECT_THAT(reason("pp=7"), HasSubstr("6 layers"));
  EXPECT_THAT(reason("tp=4"), HasSubstr("6 heads"));
  EXPECT_THAT(reason("tp=2,zero=1"), HasSubstr("dp is 1"));
  EXPECT_THAT(reason("dp=2,zero=4"), HasSubstr("from 0 to 3"));
}

TEST(BenchLayout, RanksAndMicroBatchesTakeTheBatchBetweenThem) {
  const Workload workload = workload_named("1x64x8x70x5");
  const Batch whole = random_batch(workload, 3);
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> samples;
  for (int rank = 0; rank < 2; ++rank) {
    const BatchPlan plan = bench_layout("dp=2,micro-batch=2", workload).batch_plan(workload, rank);
    for (const Batch& batch : random_micro_batches(workload, 3, plan)) {
      EXPECT_EQ(batch.samples, std::ssize(batch.sample_index));
      EXPECT_EQ(batch.samples * 8, std::ssize(batch.loss_mask));
      tokens.insert(tokens.end(), batch.tokens.begin(), batch.tokens.end());
      samples.insert(samples.end(), batch.sample_index.begin(), batch.sample_index.end());
    }
  }
  EXPECT_EQ(tokens, whole.tokens);
  EXPECT_EQ(samples, whole.sample_index);
}

// What the bench starts by mpirun looks for no leaks, as under_mpi's ranks (command.cc).
class MpiScaling : public testing::Test {
 protected:
  MpiScaling() { setenv("ASAN_OPTIONS", "detect_leaks=0", 1); }
};

TEST_F(MpiScaling, RanksTakeTheStepsOfOneRankAndTellWhatTheyWaitedFor) {
  const Workload workload = workload_named(kSmallest);
  for (const char* layout : {"dp=2", "dp=2,zero=3", "pp=2", "tp=2"}) {
    int lines = 0;
    const ScalingResult result = measure_scaling({.workload = workload,
                                                  .layout = bench_layout(layout, workload),
                                                  .steps = 2,
                                                  .alternations = 2,
                                                  .program = TRIREME_BINARY},
                                                 [&](const std::string&) { ++lines; });
    EXPECT_EQ(lines, 2);
    ASSERT_EQ(result.ratios().size(), 2u);
    EXPECT_DOUBLE_EQ(result.ratios()[1], result.one_seconds[1] / result.ranks_seconds[1]);
    // The same samples and weights, summed in another order; AdamW's first steps magnify it.
    EXPECT_NEAR(result.loss_of_ranks, result.loss_of_one, 1e-3) << layout;
    EXPECT_GT(result.exposure.communication_seconds, 0) << layout;
    EXPECT_GT(result.exposure.exposed_seconds, 0) << layout;
    EXPECT_LT(result.exposure.exposed_seconds, result.ranks_seconds[0] + result.ranks_seconds[1]) << layout;
  }
}

TEST_F(MpiScaling, PrintsARowForEachLayout) {
  const CommandResult result = run_command(quoted(TRIREME_BINARY) + " bench scaling --size " + kSmallest +
                                           " --dtype bf16 --steps 1 --alternations 1 --layout dp=2 --layout pp=2");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("median ratio"), HasSubstr("exposed"), HasSubstr(kSmallest + "  bf16")));
  EXPECT_THAT(result.output, AllOf(HasSubstr("  dp=2  "), HasSubstr("  pp=2  "), HasSubstr("20.0 %")));
}

TEST_F(MpiScaling, SaysWhatIsWrongWithItsRanks) {
  const Workload workload = workload_named(kSmallest);
  ScalingBench bench{.workload = workload, .layout = bench_layout("dp=2", workload), .program = "/bin/false"};
  const auto reason = [&] {
    try {
      measure_scaling(bench, [](const std::string&) {});
    } catch (const Error& error) {
      return std::to_string(static_cast<int>(error.code())) + ": " + error.what();
    }
    return std::string("nothing");
  };
  EXPECT_THAT(reason(), AllOf(HasSubstr("4: "), HasSubstr("ended with exit code 1")));
  bench.program = TRIREME_BINARY;
  bench.mpirun = "/no/such/mpirun";
  EXPECT_THAT(reason(), AllOf(HasSubstr("2: "), HasSubstr("/no/such/mpirun"), HasSubstr("launch/setup")));
}

TEST_F(MpiScaling, RefusesALauncherAndALayoutThatCannotBe) {
  const CommandResult launched =
      run_command(under_mpi(2) + quoted(TRIREME_BINARY) + " bench scaling --size " + kSmallest);
  EXPECT_NE(launched.exit_code, 0);
  EXPECT_THAT(launched.output, HasSubstr("starts its ranks itself"));
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_program({"bench", "scaling", "--size", kSmallest, "--layout", "tp=3"}), 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("tp must divide the 2 heads"));
}

}  // namespace
}  // namespace trireme
