// What `trireme inspect` says of a run that the program made.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Inspect, ShowsRunsAndCheckpointsAndNamesTheirDamage) {
  const ScratchFolder workspace;
  prepare_small_corpus(workspace);
  const fs::path file = write_small_run(
      workspace,
      "train: {steps: 4, global_batch: 4, micro_batch: 2}\ncheckpoint: {every: 2}\nvalidation: {every: 0}\n");
  ASSERT_EQ(run_command(quoted(TRIREME_BINARY) + " train " + quoted(file)).exit_code, 0);
  const std::string inspect = quoted(TRIREME_BINARY) + " inspect ";

  const CommandResult run = run_command(inspect + quoted(workspace / "run") + " --verify");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("step-00000002\n"), HasSubstr("a checkpoint after step 4"), HasSubstr("next sample 16"),
                    HasSubstr("model.safetensors"), HasSubstr("Every block has the manifest's digest")));
  const fs::path checkpoint = workspace / "run/checkpoints/step-00000002";
  EXPECT_THAT(run_command(inspect + quoted(checkpoint) + " --tensors").output,
              AllOf(HasSubstr("after step 2"), HasSubstr("elements"), HasSubstr("weight")));
  EXPECT_EQ(run_command(inspect + quoted(checkpoint) + " --text train").exit_code, 2);

  {
    std::fstream weights(checkpoint / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    weights.seekg(-1, std::ios::end);
    const int byte = weights.get();
    weights.seekp(-1, std::ios::end);
    weights.put(static_cast<char>(byte ^ 1));
  }
  const CommandResult damaged = run_command(inspect + quoted(checkpoint) + " --verify");
  EXPECT_EQ(damaged.exit_code, 3);
  EXPECT_THAT(damaged.output,
              AllOf(HasSubstr("step-00000002/model.safetensors: tensor "), HasSubstr("do not have the manifest")));
}

}  // namespace
}  // namespace trireme
