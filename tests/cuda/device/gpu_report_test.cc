// tests/run gpu is for machines that the project is not developed on. Here its driver and its script run under the
// stand-in, at shapes that try everything but the GPU, and what they write is read as a reader would.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "cuda/back_end.h"
#include "tests/cuda/device/alone/gpu.h"
#include "tests/cuda/parity/walk.h"
#include "tests/paths.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kDriver = fs::path(TRIREME_BINARY).parent_path() / "tests/trireme_gpu";
const fs::path kScript = fs::path(TRIREME_SOURCE_DIR) / "tests/run";

class GpuReport : public testing::Test {
 protected:
  void SetUp() override {
    const BackEnd back_end = open_back_end(BackEndChoice::kAuto, {}, 0, 1);
    if (!back_end.is_cuda) GTEST_SKIP() << "needs nvcc: " << back_end.description;
    std::string pattern = (fs::temp_directory_path() / "gpu-report-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  // The exit code, or -1; what the command prints is the test's output.
  int run(const std::string& command) const {
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  json read(const fs::path& file) const {
    std::ifstream in(folder_ / file);
    EXPECT_TRUE(in) << file;
    return json::parse(in);
  }
  std::string file(const char* name) const { return (folder_ / name).string(); }

 private:
  fs::path folder_;
};

void expect_timed(const json& kernel) {
  EXPECT_GT(kernel.at("bytes").get<double>(), 0) << kernel;
  EXPECT_GE(kernel.at("tensor_flop").get<double>(), 0) << kernel;
  EXPECT_LE(kernel.at("fastest_seconds").get<double>(), kernel.at("median_seconds").get<double>()) << kernel;
  EXPECT_LE(kernel.at("median_seconds").get<double>(), kernel.at("slowest_seconds").get<double>()) << kernel;
  EXPECT_GT(kernel.at("slowest_seconds").get<double>(), 0) << kernel;
  EXPECT_TRUE(kernel.contains("floor_seconds") && kernel.contains("floor_over_median")) << kernel;
}

TEST_F(GpuReport, TimesEveryOpOfTheTable) {
  ASSERT_EQ(run(kDriver.string() + " bench " + file("bench.json") + " --shapes small --repetitions 2"), 0);
  const json report = read("bench.json");
  EXPECT_TRUE(report.at("complete").get<bool>());
  EXPECT_EQ(report.at("failed"), 0);
  EXPECT_EQ(report.at("repetitions"), 2);
  EXPECT_FALSE(report.at("gpu").at("name").get<std::string>().empty());
  EXPECT_GE(report.at("gpu").at("cuda_runtime").get<int>(), 13000);
  std::set<std::string> timed, all;
  for (const json& kernel : report.at("kernels")) {
    expect_timed(kernel);
    timed.insert(kernel.at("op").get<std::string>());
  }
  for (const parity::Case& one : parity::all_cases()) all.insert(one.op);
  EXPECT_EQ(timed, all);
}

TEST_F(GpuReport, OfTheScriptSaysWhatWasDoneAndWhatWasAbsent) {
  ASSERT_EQ(run(kScript.string() + " gpu --op rope --shapes small --repetitions 1 --program " + kDriver.string() +
                " --out " + file("out")),
            0);
  const json report = read("out/report.json");
  EXPECT_TRUE(report.at("failed").empty());
  EXPECT_TRUE(report.at("parity").at("complete").get<bool>());
  EXPECT_EQ(report.at("parity").at("ops").size(), 1u);
  EXPECT_TRUE(report.at("parity").at("ops")[0].at("agrees").get<bool>());
  ASSERT_EQ(report.at("bench").at("kernels").size(), 2u);  // of q and of k
  for (const json& kernel : report.at("bench").at("kernels")) expect_timed(kernel);
  EXPECT_TRUE(report.at("attention_peer").contains("absent"));
  for (const char* what : {"date", "commit", "nvcc", "driver", "clocks_while_timed_mhz", "compute_sanitizer"})
    EXPECT_TRUE(report.contains(what)) << what;
}

TEST_F(GpuReport, OfAFailureNamesTheStep) {
  // The launch fails, and with it the process' context: the first op of the walk never agrees.
  ASSERT_EQ(setenv("TRIREME_GPU_STICKY", "700@1", 1), 0);
  const int code = run(kScript.string() + " gpu --op fill --shapes small --repetitions 1 --program " +
                       kDriver.string() + " --out " + file("out"));
  unsetenv("TRIREME_GPU_STICKY");
  EXPECT_EQ(code, 1);
  const json report = read("out/report.json");
  EXPECT_EQ(report.at("failed"), json::parse(R"(["parity", "bench"])"));
}

TEST_F(GpuReport, OfAnUnknownOpIsRefused) {
  EXPECT_EQ(run(kDriver.string() + " bench " + file("bench.json") + " --op no_such_op 2>/dev/null"), 2);
}

TEST(GpuFloor, IsTheLongerOfBytesAndProducts) {
  alone::Gpu h100;
  h100.bytes_per_second = 3.352e12;
  h100.tensor_flop_per_second = 989.4e12;
  EXPECT_NEAR(alone::floor_seconds(h100, 67.1e6, 0), 20.0e-6, 0.1e-6);
  EXPECT_NEAR(alone::floor_seconds(h100, 84e6, 275e9), 278e-6, 1e-6);
  h100.tensor_flop_per_second = 0;
  EXPECT_FALSE(std::isfinite(alone::floor_seconds(h100, 84e6, 275e9)));
  EXPECT_NEAR(alone::floor_seconds(h100, 67.1e6, 0), 20.0e-6, 0.1e-6);
}

}  // namespace
}  // namespace trireme
