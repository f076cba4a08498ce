#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/command_line/ended.h"
#include "tests/paths.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kRecipes = std::string(TRIREME_SOURCE_DIR) + "/launch/recipes/";

TEST(Program, HelpsNewcomers) {
  const Ended help = run({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("config"), HasSubstr("./launch/quickstart"), HasSubstr("Exit codes")));
  EXPECT_THAT(run({"config", "--help"}).output,
              AllOf(HasSubstr("Usage: trireme config"), HasSubstr("--set"), HasSubstr("launch/recipes/")));
  EXPECT_EQ(run({"--version"}).output, "trireme 0.1.0\n");
  EXPECT_EQ(run({}).exit_code, 2);
}

TEST(Program, SuggestsTheNearestCommandAndFlag) {
  const Ended command = run({"cofnig", "x.yaml"});
  EXPECT_EQ(command.exit_code, 2);
  EXPECT_EQ(command.errors,
            "trireme: \"cofnig\" is no command, did you mean config? `trireme --help` says what there is.\n");
  EXPECT_THAT(run({"--vresion"}).errors, HasSubstr("did you mean --version?"));
  const Ended flag = run({"config", "x.yaml", "--stet", "model.heads=1"});
  EXPECT_EQ(flag.exit_code, 2);
  EXPECT_THAT(flag.errors, HasSubstr("\"--stet\" is not expected, did you mean --set?"));
  EXPECT_THAT(run({"bench", "step", "--setps", "3"}).errors,
              AllOf(HasSubstr("did you mean --steps?"), HasSubstr("`trireme bench step --help`")));
  EXPECT_EQ(run({"config"}).exit_code, 2);
  EXPECT_EQ(run({"config", "x.yaml", "--ranks", "many"}).exit_code, 2);
}

TEST(Program, SaysWhatIsWrongInOneParagraphAndExitsWithTwo) {
  const Ended missing = run({"config", "no/such/file.yaml"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_EQ(missing.errors, "trireme: cannot read no/such/file.yaml: No such file or directory\n");
  EXPECT_EQ(missing.output, "");
  EXPECT_EQ(run({"config", testing::TempDir()}).exit_code, 2);
}

TEST(ConfigCommand, PrintsWhatLoadsToTheSame) {
  const Ended first = run({"config", kRecipes + "llama-8b.yaml", "--set", "train.global_batch=1024", "--set",
                           "run.seed=7", "--ranks", "128"});
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_THAT(first.output, AllOf(StartsWith("run:\n"), HasSubstr("seed: 7\n"),
                                  HasSubstr("# parameters: 8,030,261,248\n"), HasSubstr("global_batch: 1024")));
  EXPECT_EQ(run({"config", file_of(first.output)}).output, first.output);
}

TEST(ConfigCommand, TakesFlagsBeforeTheFileToo) {
  EXPECT_EQ(run({"config", "--set", "run.seed=7", kRecipes + "gpt2-124m.yaml"}).exit_code, 0);
}

TEST(ConfigCommand, ChecksTheMeshAgainstTheRanks) {
  const Ended ended = run({"config", kRecipes + "llama-8b.yaml", "--ranks", "100"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.errors, HasSubstr("dp x pp x cp x tp = 128, but this run has 100 ranks"));
}

// Through a shell, because a closed or full standard output belongs to a process.
int shell(const std::string& command) {
  const int status = std::system(("bash -o pipefail -c '" + command + "' 2>/dev/null").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Program, EndsQuietlyWhenItsReaderHasSeenEnough) {
  const std::string many = std::string(TRIREME_BINARY) + " config " + kRecipes + "quickstart.yaml";
  ASSERT_EQ(shell(many + " >/dev/null"), 0);
  EXPECT_EQ(shell("(sleep 0.2; " + many + ") | true"), 0);
  EXPECT_EQ(shell(many + " >/dev/full"), 2);
}

}  // namespace
}  // namespace trireme
