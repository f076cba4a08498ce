// The program with `device: cuda`, under the stand-in: four processes with a GPU each, over NCCL, train what one
// process on the host trains.
#include <cmath>

#include <gtest/gtest.h>

#include "monitoring/metrics_file.h"
#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSteps = 5;

struct Started {
  const char* name;
  int ranks;
  const char* options;
};

// Trains in WORKSPACE/NAME; the losses.
std::vector<double> train(const ScratchFolder& workspace, const fs::path& file, const Started& how,
                          const std::string& precision, const std::string& device) {
  const std::string name = precision + "-" + device + "-" + how.name;
  const std::string gpu = quoted(fs::path(TRIREME_SOURCE_DIR) / "tests/gpu/run_with_gpu") + " ";
  const CommandResult result =
      run_command(under_mpi(how.ranks) + (device == "cuda" ? gpu : "") + quoted(TRIREME_BINARY) + " train " +
                  quoted(file) + " --set run.dir=" + (workspace / name).string() +
                  " --set train.precision=" + precision + " --set device=" + device + " " + how.options);
  EXPECT_EQ(result.exit_code, 0) << name << "\n" << result.output;
  if (device == "cuda") {
    EXPECT_NE(result.output.find("cuda: "), std::string::npos) << "it does not say what it runs on\n" << result.output;
  }
  std::vector<double> losses;
  if (result.exit_code == 0)
    for (const MetricsRow& row : read_metrics(workspace / name / "metrics.jsonl").rows)
      losses.push_back(row.number("loss").value());
  return losses;
}

// fp32: 1e-5 of the loss. bf16: a logit is the last of a chain of about 10 roundings a layer and 4 more, each by up to
// u = 2^-8 of what it rounds, which here is below 1; back ends round at other places, so their chains are independent,
// and what is left of them is sqrt(24) u. A token's loss moves by at most twice that, and a mean of losses by no more.
double allowed(const std::string& precision, double loss) {
  constexpr double kLayers = 2;
  return precision == "fp32" ? 1e-5 * loss : 2 * std::sqrt(10 * kLayers + 4) * 0x1p-8;
}

class OnGpus : public testing::TestWithParam<const char*> {};

TEST_P(OnGpus, FourRanksTrainAsOneOnTheHostDoes) {
  const std::string precision = GetParam();
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file =
      write_small_run(workspace,
                      "train: {steps: 5, global_batch: 8, micro_batch: 1}\n"
                      "validation: {every: 0, max_samples: 4}\ncheckpoint: {every: 0}\nmonitoring: {trace_steps: 1}\n");
  const std::vector<double> host = train(workspace, file, {"one", 0, ""}, precision, "host");
  ASSERT_EQ(host.size(), kSteps);
  EXPECT_LT(host.back(), host.front());
  constexpr Started kMeshes[] = {{"dp4", 4, "--set mesh.dp=4"},
                                 {"dp2-tp2", 4, "--set mesh.dp=2 --set mesh.tp=2"},
                                 {"pp2-dp2", 4, "--set mesh.pp=2 --set mesh.dp=2"}};
  for (const Started& how : kMeshes) {
    const std::vector<double> gpus = train(workspace, file, how, precision, "cuda");
    ASSERT_EQ(gpus.size(), kSteps) << how.name;
    for (std::size_t step = 0; step < kSteps; ++step)
      EXPECT_NEAR(gpus[step], host[step], allowed(precision, host[step])) << how.name << ", step " << step + 1;
  }
}

// Sums over ranks by our own tree: dp may not show in exact numerics, on GPUs as on the host.
TEST(OnGpusExact, AnyDataParallelismGivesTheSameLosses) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file =
      write_small_run(workspace,
                      "train: {steps: 3, global_batch: 8, micro_batch: 1}\nnumerics: exact\n"
                      "validation: {every: 0, max_samples: 4}\ncheckpoint: {every: 0}\nmonitoring: {trace_steps: 0}\n");
  const std::vector<double> one = train(workspace, file, {"one", 0, ""}, "bf16", "cuda");
  ASSERT_EQ(one.size(), 3u);
  for (const Started& how :
       {Started{"dp2", 2, "--set mesh.dp=2"}, Started{"dp2-pp2", 4, "--set mesh.dp=2 --set mesh.pp=2"}})
    EXPECT_EQ(train(workspace, file, how, "bf16", "cuda"), one) << how.name;
}

INSTANTIATE_TEST_SUITE_P(Precisions, OnGpus, testing::Values("fp32", "bf16"),
                         [](const auto& one) { return std::string(one.param); });

TEST(OnGpu, WithoutADriverCudaIsRefusedInOneSentenceAndAutoTakesTheHost) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_small_run(workspace, "train: {steps: 2, global_batch: 2}\nvalidation: {every: 0}\n");
  const auto run = [&](const std::string& device) {
    return run_command(quoted(TRIREME_BINARY) + " train " + quoted(file) +
                       " --set run.dir=" + (workspace / device).string() + " --set device=" + device);
  };
  const CommandResult automatic = run("auto");
  EXPECT_EQ(automatic.exit_code, 0) << automatic.output;
  if (automatic.output.find("cuda: ") != std::string::npos) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_NE(automatic.output.find("(no GPU: "), std::string::npos) << automatic.output;
  const CommandResult refused = run("cuda");
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_NE(refused.output.find("device: cuda, but "), std::string::npos) << refused.output;
}

}  // namespace
}  // namespace trireme
