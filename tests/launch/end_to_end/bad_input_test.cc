// What people and disks do to a run, on the program itself: one clear message that names the place, the exit code that
// scripts act on, and the last good checkpoint intact.
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
using ::testing::Not;

constexpr char kShort[] =
    "train: {steps: 6, global_batch: 4, micro_batch: 2}\ncheckpoint: {every: 2}\nvalidation: {every: 5, max_samples: "
    "8}\n";

class BadInput : public ::testing::Test {
 protected:
  BadInput() {
    prepare_small_corpus(workspace_);
    file_ = write_small_run(workspace_, kShort);
  }

  CommandResult train(const std::string& options = "") const {
    return run_command(quoted(TRIREME_BINARY) + " train " + quoted(file_) + " " + options);
  }
  CommandResult config(const std::string& yaml) const {
    write_bytes(workspace_ / "bad.yaml", yaml);
    return run_command(quoted(TRIREME_BINARY) + " config " + quoted(workspace_ / "bad.yaml"));
  }
  fs::path checkpoint(int step) const { return workspace_ / ("run/checkpoints/step-0000000" + std::to_string(step)); }
  static void flip_bit(const fs::path& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 4));
  }

  const ScratchFolder workspace_;
  fs::path file_;
};

TEST_F(BadInput, AMissingConfigurationIsNamed) {
  const CommandResult result = run_command(quoted(TRIREME_BINARY) + " train " + quoted(workspace_ / "nowhere.yaml"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("nowhere.yaml"));
}

TEST_F(BadInput, AMissingDataSetIsNamed) {
  const CommandResult result = train("--set data.path=" + (workspace_ / "gone").string());
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr((workspace_ / "gone").string()));
}

TEST_F(BadInput, EveryMistakeOfAConfigurationIsToldAtOnceWithItsPlace) {
  const CommandResult result =
      config("model:\n  hiden_size: 64\n  heads: 3\n  hidden_size: 64\ntrain:\n  steps: many\n");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, AllOf(HasSubstr("bad.yaml:2:3"), HasSubstr("did you mean"), HasSubstr("hidden_size"),
                                   HasSubstr("bad.yaml:3"), HasSubstr("bad.yaml:6:10"), HasSubstr("train.steps")));
}

TEST_F(BadInput, NoiseForAConfigurationIsRefused) {
  const CommandResult result = config(std::string("\x00\xff\x13{[&*\x7f: -\n\t", 11));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("bad.yaml"));
}

TEST_F(BadInput, AnUnwritableRunFolderIsNamed) {
  const CommandResult result = train("--set run.dir=/sys/trireme-run");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("/sys/trireme-run"));
}

TEST_F(BadInput, ATruncatedShardIsNamed) {
  const fs::path shard = workspace_ / "data/train-00000.shard";
  fs::resize_file(shard, fs::file_size(shard) - 100);
  const CommandResult result = train();
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.output, HasSubstr("train-00000.shard"));
}

TEST_F(BadInput, AFlippedBitInAShardIsNamedWithItsBytes) {
  flip_bit(workspace_ / "data/train-00000.shard", 2001);
  const CommandResult result = train();
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.output, AllOf(HasSubstr("train-00000.shard"), HasSubstr("byte")));
}

TEST_F(BadInput, AFlippedBitInACheckpointIsNamedAndTheOneBeforeItIsUsed) {
  ASSERT_EQ(train().exit_code, 0);
  // Of steps 2 and 4; a save is passed over while the one before it is being written.
  const std::string older = fs::exists(checkpoint(4)) ? "step-00000004" : "step-00000002";
  flip_bit(checkpoint(6) / "model.safetensors", 9000);
  const CommandResult result = train("--set train.steps=8");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("passed over"), HasSubstr("step-00000006"), HasSubstr("tensor"),
                                   HasSubstr("resumed from"), HasSubstr(older)));
  EXPECT_TRUE(fs::exists(checkpoint(8)));
}

TEST_F(BadInput, NoCheckpointThatVerifiesEndsWithThree) {
  ASSERT_EQ(train().exit_code, 0);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(workspace_ / "run/checkpoints")) {
    if (!entry.is_directory()) continue;
    flip_bit(entry.path() / "first_moment.safetensors", 9000);
    names.push_back(entry.path().filename().string());
  }
  ASSERT_EQ(names.size(), 2u);  // what retention keeps
  const CommandResult result = train("--set train.steps=8");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.output, AllOf(HasSubstr(names[0]), HasSubstr(names[1]), HasSubstr("first_moment")));
}

TEST_F(BadInput, AnotherExperimentDoesNotContinueThisOne) {
  ASSERT_EQ(train().exit_code, 0);
  const CommandResult result = train("--set optimizer.learning_rate=1e-4 --set train.steps=8");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, AllOf(HasSubstr("another experiment"), HasSubstr("learning_rate")));
  EXPECT_TRUE(fs::exists(checkpoint(6)));
}

// A disk of its own: a small tmpfs, mounted in a namespace that goes with the program. It has room for two checkpoints,
// and retention removes an old one only after a newer one is committed.
TEST_F(BadInput, AFullDiskWhileSavingIsReportedAndTheLastGoodCheckpointStays) {
  if (run_command("unshare --mount true").exit_code != 0) GTEST_SKIP() << "mounting is not allowed here";
  const fs::path disk = workspace_ / "disk";
  fs::create_directories(disk);
  const std::string program = TRIREME_BINARY " train " + file_.string() + " --set run.dir=" + (disk / "run").string();
  const CommandResult result = run_command("unshare --mount sh -c 'mount -t tmpfs -o size=900k none " + disk.string() +
                                           " && " + program + " --set train.steps=8; echo first $?; ls " +
                                           (disk / "run/checkpoints").string() + "; mount -o remount,size=4m " +
                                           disk.string() + "; " + program + " --set train.steps=12; echo second $?'");
  const std::size_t second = result.output.find("first 0");
  ASSERT_NE(second, std::string::npos) << result.output;
  EXPECT_THAT(result.output.substr(0, second), AllOf(HasSubstr("could not be saved"), HasSubstr("No space left"),
                                                     HasSubstr("step 8/8"), Not(HasSubstr("bug"))));
  EXPECT_THAT(result.output.substr(second), AllOf(HasSubstr("step-00000004"), Not(HasSubstr("step-00000006\n")),
                                                  HasSubstr("resumed from"), HasSubstr("second 0")));
}

TEST_F(BadInput, ASignalSavesAndEndsWithSeventyFive) {
  const CommandResult result =
      run_command("timeout --preserve-status --signal=TERM 3 " + quoted(TRIREME_BINARY) + " train " + quoted(file_) +
                  " --set train.steps=1000000 --set checkpoint.every=0; echo code $?");
  EXPECT_THAT(result.output, AllOf(HasSubstr("stopped by a signal"), HasSubstr("saved"), HasSubstr("code 75")));
}

TEST_F(BadInput, WrongFlagsAreToldWithTheNearestRightOne) {
  const CommandResult result = run_command(quoted(TRIREME_BINARY) + " train " + quoted(file_) + " --sett a=b");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.output, HasSubstr("--set"));
}

}  // namespace
}  // namespace trireme
