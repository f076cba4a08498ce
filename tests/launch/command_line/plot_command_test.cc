#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/command_line/ended.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

TEST(PlotCommand, DrawsARunBesideItsMetricsAndSeveralWhereItIsTold) {
  const ScratchFolder folder;
  for (const char* name : {"a", "b"}) {
    fs::create_directories(folder / name);
    std::ofstream metrics(folder / name / "metrics.jsonl");
    for (int step = 1; step <= 5; ++step) metrics << "{\"step\":" << step << ",\"loss\":" << 5.0 / step << "}\n";
  }
  const Ended one = run({"plot", (folder / "a").string()});
  EXPECT_EQ(one.exit_code, 0) << one.errors;
  EXPECT_EQ(one.output, (folder / "a/loss.svg").string() + "\n");
  EXPECT_TRUE(fs::exists(folder / "a/loss.svg"));
  const std::string both = (folder / "both.svg").string();
  EXPECT_EQ(run({"plot", (folder / "a").string(), (folder / "b").string(), "--out", both}).exit_code, 0);
  EXPECT_GT(fs::file_size(both), fs::file_size(folder / "a/loss.svg"));

  const Ended missing = run({"plot", (folder / "none").string()});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.errors, testing::HasSubstr("none"));
  EXPECT_EQ(run({"plot", (folder / "a").string(), "--out", (folder / "no/such/x.svg").string()}).exit_code, 2);
}

}  // namespace
}  // namespace trireme
