// Promise 1 on the program itself: processes under mpirun, on any axes, end in the bytes that one process writes.
#include <cmath>

#include <gtest/gtest.h>

#include "dataloader/batch/ledger.h"
#include "monitoring/metrics_file.h"
#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSteps = 4;

// Four layers, dropout, a tied embedding.
fs::path write_run(const ScratchFolder& workspace) {
  return write_small_run(workspace,
                         "train: {steps: 4, global_batch: 8, micro_batch: 1, exact_groups: 8}\n"
                         "numerics: exact\nvalidation: {every: 3, max_samples: 8}\nmonitoring: {trace_steps: 0}\n");
}

struct Started {
  const char* name;
  int ranks;  // 0: without mpirun
  const char* options;
};

// Trains in WORKSPACE/NAME.
fs::path train(const ScratchFolder& workspace, const fs::path& file, const Started& how, const std::string& more) {
  const fs::path run = workspace / how.name;
  const CommandResult result =
      run_command(under_mpi(how.ranks) + quoted(TRIREME_BINARY) + " train " + quoted(file) +
                  " --set model.layers=4 --set run.dir=" + run.string() + " " + how.options + more);
  EXPECT_EQ(result.exit_code, 0) << how.name << "\n" << result.output;
  return run;
}

std::vector<double> column(const fs::path& run, const char* name) {
  std::vector<double> values;
  for (const MetricsRow& row : read_metrics(run / "metrics.jsonl").rows) values.push_back(row.number(name).value());
  return values;
}

TEST(MpiLayouts, OfDataPipelineAndZeroEndInOneRanksBytes) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_run(workspace);
  constexpr Started kAll[] = {
      {"one", 0, ""},
      {"dp", 2, "--set mesh.dp=2 --set train.micro_batch=4"},
      {"pp", 2, "--set mesh.pp=2 --set train.micro_batch=2"},
      {"gpipe", 4, "--set mesh.pp=4 --set pipeline.schedule=gpipe --set 'recompute=[full,none,selective,none]'"},
      {"zero2", 4, "--set mesh.dp=2 --set mesh.pp=2 --set zero.stage=2 --set train.micro_batch=2"},
      {"zero3", 4,
       "--set mesh.dp=2 --set mesh.pp=2 --set zero.stage=3 --set pipeline.schedule=interleaved-1f1b "
       "--set pipeline.chunks=2 --set recompute=full"},
  };
  std::vector<double> losses, norms;
  std::vector<std::string> files;
  for (const Started& how : kAll) {
    SCOPED_TRACE(how.name);
    const fs::path run = train(workspace, file, how, " --set train.precision=bf16");
    const fs::path last = run / "checkpoints/step-00000004";
    ASSERT_TRUE(fs::exists(last));
    const auto ledger = read_ledger(run / "ledger.jsonl");
    EXPECT_EQ(ledger.size(), kSteps);
    check_each_sample_once(ledger, run / "ledger.jsonl");
    if (files.empty()) {
      losses = column(run, "loss");
      norms = column(run, "grad_norm");
      files = digests(last);
      ASSERT_EQ(losses.size(), kSteps);
      // model, master, two moments, config.json, tokenizer.json, manifest.textproto
      EXPECT_EQ(files.size(), 7u);
    }
    EXPECT_EQ(column(run, "loss"), losses);
    EXPECT_EQ(column(run, "grad_norm"), norms);
    EXPECT_EQ(digests(last), files);
  }
}

// Roundings move a loss by at most 2048 u of it, as they do gradients of their terms. An update moves an element by
// about the learning rate, of which roundings decide no larger a share than 2048 u terms / |gradient|; so to first
// order it moves the next loss by the learning rate x 2048 u sum(terms), which here is less than the loss again.
TEST(MpiLayouts, OfTensorParallelismHaveOneRanksLossesWithinTheBound) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_run(workspace);
  constexpr double kRoundings = 2048 * 0x1p-24;
  const std::vector<double> one = column(train(workspace, file, {"one", 0, ""}, ""), "loss");
  ASSERT_EQ(one.size(), kSteps);
  for (const Started& how : {Started{"tp", 2, "--set mesh.tp=2"},
                             Started{"all", 8, "--set mesh.dp=2 --set mesh.pp=2 --set mesh.tp=2 --set zero.stage=1"}}) {
    const std::vector<double> losses = column(train(workspace, file, how, ""), "loss");
    ASSERT_EQ(losses.size(), kSteps) << how.name;
    for (std::size_t step = 0; step < kSteps; ++step)
      EXPECT_LE(std::abs(losses[step] - one[step]), static_cast<double>(step + 1) * kRoundings * one[step])
          << how.name << ", step " << step + 1;
  }
}

}  // namespace
}  // namespace trireme
