// What DESIGN promises of the sources themselves, read from the tree.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/paths.h"
#include "tests/structure/include_rules.h"

namespace trireme {
namespace {

const std::filesystem::path kRoot = TRIREME_SOURCE_DIR;

const std::vector<SourceFile>& tree() {
  static const std::vector<SourceFile> files = read_tree(kRoot);
  return files;
}

std::string place(const SourceFile& file, const Include& include) {
  return file.path + ":" + std::to_string(include.line) + ": ";
}

TEST(Structure, TheTreeWasRead) {
  EXPECT_GE(tree().size(), 10u);
  EXPECT_TRUE(std::any_of(tree().begin(), tree().end(), [](const auto& file) { return !file.includes.empty(); }));
}

TEST(Structure, NoIncludeRunsUpTheFloorsOrToASibling) {
  for (const auto& file : tree()) {
    for (const auto& include : file.includes) {
      if (!include.quoted) continue;
      const auto why = forbidden_arrow(file.path, include.path);
      EXPECT_FALSE(why) << place(file, include) << "includes " << include.path << ": " << why.value_or("");
    }
  }
}

TEST(Structure, TheCoreNeedsOnlyTheStandardLibrary) {
  for (const auto& file : tree()) {
    for (const auto& include : file.includes) {
      const auto why = forbidden_dependency(file.path, include);
      EXPECT_FALSE(why) << place(file, include) << why.value_or("");
    }
  }
}

TEST(Structure, EveryIncludeOfOursExists) {
  static const std::regex message(R"(\.pb\.h$)");
  for (const auto& file : tree()) {
    for (const auto& include : file.includes) {
      if (!include.quoted || include.path.starts_with("google/")) continue;
      const auto source = std::regex_replace(include.path, message, ".proto");
      EXPECT_TRUE(std::filesystem::exists(kRoot / source) || std::filesystem::exists(kRoot / (source + ".in")))
          << place(file, include) << "no file " << source;
    }
  }
}

TEST(Structure, EveryHeaderIsGuardedAndOpensWithTheProblemItSolves) {
  for (const auto& file : tree()) {
    if (!file.path.ends_with(".h") && !file.path.ends_with(".cuh")) continue;
    EXPECT_TRUE(file.text.starts_with("//")) << file.path << " opens with code, not with what it is for";
    // Highway reads such a header once for each instruction set; its guard is a toggle.
    const bool per_instruction_set = file.text.find("HWY_TARGET_TOGGLE") != std::string::npos;
    EXPECT_TRUE(per_instruction_set || file.text.find("#pragma once") != std::string::npos)
        << file.path << " has no #pragma once";
  }
}

// So that compiling the source shows that the header needs nothing before it; tests/structure/CMakeLists.txt does the
// rest.
TEST(Structure, ASourceIncludesItsOwnHeaderFirst) {
  int sources = 0;
  for (const auto& file : tree()) {
    if (!file.path.ends_with(".cc")) continue;
    const std::string header = file.path.substr(0, file.path.size() - 2) + "h";
    if (!std::filesystem::exists(kRoot / header)) continue;
    ++sources;
    ASSERT_FALSE(file.includes.empty()) << file.path;
    EXPECT_EQ(file.includes.front().path, header) << place(file, file.includes.front()) << "its own header comes first";
  }
  EXPECT_GE(sources, 100);
}

TEST(Structure, NoFileHoldsTwoIdeas) {
  constexpr int kMostLines = 400;
  for (const auto& file : tree()) {
    EXPECT_LE(file.lines, kMostLines) << file.path << " has " << file.lines << " lines: find the wall in it";
  }
}

TEST(Structure, NoFileIsADrawerForOddments) {
  static const std::regex drawer("(^|[/_])(util|utils|helper|helpers|manager|common|misc)([/_.]|$)");
  for (const auto& file : tree()) {
    EXPECT_FALSE(std::regex_search(file.path, drawer)) << file.path << ": name it after what it does";
  }
}

TEST(Structure, EveryFloorSaysWhatItPromisesAndDatesItsDecisions) {
  auto folders = floors();
  folders.push_back("tests");
  for (const auto& folder : folders) {
    std::ifstream in(kRoot / folder / "README.md");
    ASSERT_TRUE(in) << folder << "/README.md is missing";
    std::stringstream text;
    text << in.rdbuf();
    const std::size_t decisions = text.str().find("\n## Decisions");
    ASSERT_NE(decisions, std::string::npos) << folder << "/README.md ends without its decisions";
    EXPECT_NE(text.str().find("\n- 20", decisions), std::string::npos) << folder << "/README.md dates no decision";
  }
}

TEST(IncludeScan, FindsIncludesAndImportsAndSkipsComments) {
  const auto found = scan_includes(
      "// #include \"a.h\"\n#include \"cuda/core/tensor.h\"\n  # include <vector>  // for x\n/* begin\n#include "
      "\"b.h\"\n*/\nimport \"trainer/model.proto\";\n");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].path, "cuda/core/tensor.h");
  EXPECT_TRUE(found[0].quoted);
  EXPECT_EQ(found[0].line, 2);
  EXPECT_EQ(found[1].path, "vector");
  EXPECT_FALSE(found[1].quoted);
  EXPECT_EQ(found[2].path, "trainer/model.proto");
  EXPECT_EQ(found[2].line, 7);
}

TEST(ForbiddenArrow, DownIsAllowedUpAndAcrossAreNot) {
  EXPECT_FALSE(forbidden_arrow("trainer/loop.cc", "monitoring/check.h"));
  EXPECT_FALSE(forbidden_arrow("trainer/loop.cc", "trainer/loop.h"));
  EXPECT_FALSE(forbidden_arrow("tests/cuda/x_test.cc", "launch/config.h"));
  EXPECT_TRUE(forbidden_arrow("monitoring/log.cc", "cuda/core/tensor.h"));
  EXPECT_TRUE(forbidden_arrow("cuda/core/tensor.h", "dataloader/shard/reader.h"));
  EXPECT_TRUE(forbidden_arrow("dataloader/shard/reader.h", "cuda/core/tensor.h"));
  EXPECT_TRUE(forbidden_arrow("parallel/comm/local.cc", "trainer/loop.h"));
  EXPECT_TRUE(forbidden_arrow("launch/main.cc", "tests/structure/include_rules.h"));
  EXPECT_TRUE(forbidden_arrow("cuda/core/tensor.cc", "tensor.h")) << "a path must start from the root";
}

TEST(ForbiddenDependency, TheCoreMayNotReachForALibrary) {
  EXPECT_FALSE(forbidden_dependency("cuda/core/arena.cc", {.path = "vector", .quoted = false}));
  EXPECT_FALSE(forbidden_dependency("cuda/core/arena.cc", {.path = "monitoring/check.h", .quoted = true}));
  EXPECT_FALSE(forbidden_dependency("cuda/host/gemm.cc", {.path = "dnnl.hpp", .quoted = false}));
  EXPECT_TRUE(forbidden_dependency("cuda/core/arena.cc", {.path = "fmt/format.h", .quoted = false}));
  EXPECT_TRUE(forbidden_dependency("cuda/ops/kernels.h", {.path = "cuda/host/gemm.h", .quoted = true}));
  EXPECT_TRUE(forbidden_dependency("monitoring/check.h", {.path = "monitoring/log.h", .quoted = true}));
}

}  // namespace
}  // namespace trireme
