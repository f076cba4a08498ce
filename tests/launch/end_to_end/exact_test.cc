// Promise 1 and promise 3, on the program itself: whatever the ranks, the micro-batch and the deaths on the way, a run
// in exact numerics ends in the same bytes.
#include <array>
#include <cmath>
#include <iostream>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "dataloader/batch/ledger.h"
#include "monitoring/metrics_file.h"
#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

std::string train(const fs::path& file, const fs::path& run, const std::string& options) {
  return quoted(TRIREME_BINARY) + " train " + quoted(file) + " --set run.dir=" + run.string() + " " + options;
}

std::vector<double> column(const fs::path& run, const char* name) {
  std::vector<double> values;
  for (const MetricsRow& row : read_metrics(run / "metrics.jsonl").rows) values.push_back(row.number(name).value());
  return values;
}

void expect_each_sample_once(const fs::path& run, std::size_t steps) {
  const auto lines = read_ledger(run / "ledger.jsonl");
  EXPECT_EQ(lines.size(), steps);
  check_each_sample_once(lines, run / "ledger.jsonl");
}

constexpr char kExact[] =
    "train: {steps: 20, global_batch: 8, micro_batch: 2, exact_groups: 8}\nnumerics: exact\ncheckpoint: {every: "
    "3}\nvalidation: {every: 5, max_samples: 8}\n";

TEST(MpiExactRun, EndsInTheSameBytesWhateverTheRanksTheMicroBatchAndTheDeaths) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_small_run(workspace, kExact);
  const fs::path reference = workspace / "reference";
  const CommandResult alone = run_command(train(file, reference, ""));
  ASSERT_EQ(alone.exit_code, 0) << alone.output;

  constexpr unsigned kSeed = 7;
  constexpr int kKills = 20;
  constexpr std::array kPhases = {"reduction", "optimizer", "writing", "backward", "snapshot", "commit"};
  std::mt19937 random(kSeed);
  std::map<std::string, int> hit;
  const fs::path run = workspace / "killed";
  const std::string program = quoted(KILLED_TRAIN_BINARY);
  std::size_t done = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    const std::string phase = kPhases[static_cast<std::size_t>(kill) % kPhases.size()];
    const int ranks = 1 << random() % 3;
    const bool saving = phase == "writing" || phase == "snapshot" || phase == "commit";
    // A checkpoint is due every third step; at most six steps further on each time, so that all kills find work.
    const std::size_t step = std::min<std::size_t>(done + 1 + random() % 4, saving ? 18 : 19);
    const std::string command = under_mpi(ranks) + program + " " + phase + " " + std::to_string(step) + " " +
                                std::to_string(random() % 4) + " " + std::to_string(random() % 3000) + " " +
                                quoted(file) + " --set run.dir=" + run.string() +
                                " --set train.micro_batch=" + std::to_string(1 << random() % 2);
    const CommandResult result = run_command(command);
    ASSERT_EQ(result.exit_code, 137) << command << "\n" << result.output;
    const std::size_t said = result.output.find("kills itself in ");
    ASSERT_NE(said, std::string::npos) << result.output;
    ++hit[phase];
    if (fs::exists(run / "checkpoints")) {
      std::size_t newest = 0;
      for (const auto& entry : fs::directory_iterator(run / "checkpoints"))
        if (const std::string name = entry.path().filename(); name.starts_with("step-"))
          newest = std::max(newest, static_cast<std::size_t>(std::stoul(name.substr(5))));
      done = newest;
    }
  }
  std::cout << "seed " << kSeed << ", kills by phase:";
  for (const auto& [phase, count] : hit) std::cout << " " << phase << " " << count;
  std::cout << "; the newest checkpoint before the last attempt: step " << done << "\n";

  const CommandResult last = run_command(under_mpi(2) + train(file, run, "--set train.micro_batch=4"));
  ASSERT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(column(run, "loss"), column(reference, "loss"));
  EXPECT_EQ(column(run, "grad_norm"), column(reference, "grad_norm"));
  EXPECT_EQ(digests(run / "checkpoints/step-00000020"), digests(reference / "checkpoints/step-00000020"));
  expect_each_sample_once(run, 20);
}

TEST(LearningRateOfARun, MovesOnOnceAStepHoweverManyMicroBatchesItHas) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_small_run(
      workspace, "train: {steps: 4, global_batch: 8}\ncheckpoint: {every: 0}\nvalidation: {every: 0}\n");
  const std::string schedule =
      "--set optimizer.learning_rate=0.01 --set optimizer.min_learning_rate=0.001 --set optimizer.warmup_steps=1";
  constexpr double kExpected[] = {0.01, 0.01, 0.0055, 0.001};  // a step of warm-up, then half a cosine
  for (const std::string micro_batch : {"8", "4", "1"}) {
    const fs::path run = workspace / micro_batch;
    const CommandResult result = run_command(train(file, run, schedule + " --set train.micro_batch=" + micro_batch));
    ASSERT_EQ(result.exit_code, 0) << result.output;
    const std::vector<double> rates = column(run, "learning_rate");
    ASSERT_EQ(rates.size(), std::size(kExpected));
    for (std::size_t step = 0; step < rates.size(); ++step)
      EXPECT_NEAR(rates[step], kExpected[step], 1e-9) << "micro-batches of " << micro_batch << ", step " << step + 1;
  }
}

TEST(MpiFastRun, StaysWithinOneInAHundredThousandOfOneRanksLosses) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_small_run(
      workspace,
      "train: {steps: 20, global_batch: 12, micro_batch: 1}\ncheckpoint: {every: 0}\nvalidation: {every: 0}\n");
  ASSERT_EQ(run_command(train(file, workspace / "one", "")).exit_code, 0);
  const std::vector<double> expected = column(workspace / "one", "loss");
  ASSERT_EQ(expected.size(), 20u);
  for (const int ranks : {2, 3, 4}) {
    const fs::path run = workspace / std::to_string(ranks);
    const CommandResult result = run_command(under_mpi(ranks) + train(file, run, ""));
    ASSERT_EQ(result.exit_code, 0) << result.output;
    const std::vector<double> losses = column(run, "loss");
    ASSERT_EQ(losses.size(), expected.size());
    for (std::size_t i = 0; i < losses.size(); ++i)
      EXPECT_LE(std::abs(losses[i] - expected[i]), 1e-5 * expected[i]) << ranks << " ranks, step " << i + 1;
  }
}

TEST(MpiResave, ByThreeRanksGivesTheBytesThatOneRankWrote) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_small_run(
      workspace, "train: {steps: 4, global_batch: 8, micro_batch: 2, precision: bf16}\nvalidation: {every: 0}\n");
  ASSERT_EQ(run_command(train(file, workspace / "run", "")).exit_code, 0);
  const fs::path in = workspace / "run/checkpoints/step-00000004";
  const CommandResult result =
      run_command(under_mpi(3) + quoted(TRIREME_BINARY) + " resave " + quoted(in) + " " + quoted(workspace / "out"));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(digests(workspace / "out"), digests(in));
}

}  // namespace
}  // namespace trireme
