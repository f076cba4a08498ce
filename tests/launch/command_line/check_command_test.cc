#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/command_line/ended.h"
#include "tests/paths.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kSmall =
    "model: {layers: 4, hidden_size: 64, heads: 4, vocab_size: 128, sequence_length: 32, tied_embeddings: false}\n"
    "train: {steps: 10, global_batch: 16}\n";

TEST(CheckCommand, SaysThatALayoutHoldsAndWhatMemoryItsRanksTake) {
  const Ended ended = run({"check", file_of(kSmall), "--ranks", "8", "--set", "mesh.pp=4"});
  EXPECT_EQ(ended.exit_code, 0) << ended.errors;
  EXPECT_THAT(ended.output, AllOf(HasSubstr("dp 2 x pp 4 x cp 1 x tp 1 on 8 ranks"), HasSubstr("parameters"),
                                  HasSubstr("gradients"), HasSubstr("optimizer"), HasSubstr("activations"),
                                  HasSubstr("pp 3"), HasSubstr("\nholds: every call matches")));
}

TEST(CheckCommand, NeedsNoRanksAndTakesTheMeshAsItIs) {
  const Ended ended = run({"check", file_of(kSmall + "mesh: {dp: 4}\n")});
  EXPECT_EQ(ended.exit_code, 0) << ended.errors;
  EXPECT_THAT(ended.output, HasSubstr("on 4 ranks"));
}

TEST(CheckCommand, RefusesAMeshThatCannotBeAndNamesOthers) {
  const Ended ended = run({"check", file_of(kSmall + "mesh: {dp: 3, pp: 5}\n"), "--ranks", "8"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.errors, AllOf(HasSubstr("mesh.dp"), HasSubstr("mesh.pp"), HasSubstr("these would work: ")));
}

// Each recipe holds, or is refused by name for what this version lacks.
TEST(CheckCommand, RecipesHold) {
  int held = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(TRIREME_SOURCE_DIR) + "/launch/recipes")) {
    const Ended ended = run({"check", entry.path().string(), "--set", "model.vocab_size=50304"});
    if (ended.exit_code == 2) {
      EXPECT_THAT(ended.errors, HasSubstr("is not implemented yet")) << entry.path();
      continue;
    }
    ++held;
    EXPECT_EQ(ended.exit_code, 0) << entry.path() << ended.output;
  }
  EXPECT_GE(held, 2);
}

}  // namespace
}  // namespace trireme
