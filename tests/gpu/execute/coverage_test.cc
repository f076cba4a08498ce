// That every model is tested is itself tested: this program runs its own tests of models once more, as another process,
// which writes down what they exercised.
#include "tests/gpu/execute/coverage.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/gpu/execute/models.h"
#include "tests/gpu/ptx/module.h"

namespace trireme::gpu {
namespace {

constexpr const char* kReport = "TRIREME_GPU_EXERCISED";

class Report : public testing::Environment {
 public:
  void TearDown() override {
    const char* file = std::getenv(kReport);
    if (file == nullptr) return;
    std::ofstream out(file);
    for (const auto& name : exercised()) out << name << "\n";
  }
};
const testing::Environment* const kRegistered = testing::AddGlobalTestEnvironment(new Report);

std::set<std::string> really_exercised() {
  const auto file = std::filesystem::temp_directory_path() / ("exercised." + std::to_string(::getpid()));
  const std::string command = std::string(kReport) + "=" + file.string() + " " +
                              std::filesystem::read_symlink("/proc/self/exe").string() +
                              " --gtest_brief=1 --gtest_filter='*Model.*:*Model/*' > /dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << "tests of models fail; run them alone";
  std::ifstream in(file);
  std::set<std::string> names{std::istream_iterator<std::string>(in), {}};
  std::filesystem::remove(file);
  return names;
}

// tested_models.inc after a change: what TRIREME_GPU_EXERCISED=FILE writes.
TEST(Coverage, ListsTheModelsThatTestsExerciseAndLeavesNoneOut) {
  const std::set<std::string> exercised_now = really_exercised();
  const std::set<std::string> listed(tested_models().begin(), tested_models().end());
  std::string missing;
  std::size_t in_table = 0;
  for (const auto& [name, entry] : model_table().entries()) {
    ++in_table;
    if (exercised_now.count(name) == 0) missing.append(name).append("\n");
  }
  std::printf("%zu pairs of opcode and modifiers in the table, %zu exercised\n", in_table, exercised_now.size());
  EXPECT_EQ(missing, "") << "models that no test exercises";
  EXPECT_EQ(listed, exercised_now) << "tested_models.inc is not what the tests exercise";
}

TEST(Coverage, TellsWhichModelsOfAModuleAreNotTested) {
  const Module module = parse(
      ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %a;\n"
      "mov.u32 %a, 1;\nfrobnicate.u32 %a, %a;\nret;\n}\n");
  EXPECT_EQ(untested(module), std::vector<std::string>{"frobnicate.u32"});
}

}  // namespace
}  // namespace trireme::gpu
