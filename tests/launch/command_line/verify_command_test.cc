#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/command_line/ended.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kSmall =
    "data: {path: /nonexistent}\n"
    "model: {layers: 2, hidden_size: 16, heads: 2, sequence_length: 8}\n"
    "train: {steps: 10, global_batch: 4}\n";

TEST(VerifyCommand, NeedsNoDataButAVocabulary) {
  const Ended without = run({"verify", file_of(kSmall)});
  EXPECT_EQ(without.exit_code, 2);
  EXPECT_THAT(without.errors, AllOf(HasSubstr("model.vocab_size"), HasSubstr("/nonexistent"))) << without.output;
  const Ended with = run({"verify", file_of(kSmall), "--set", "model.vocab_size=40", "--set", "mesh.dp=2"});
  EXPECT_EQ(with.exit_code, 0) << with.output << with.errors;
  EXPECT_THAT(with.output, HasSubstr("The layout is not part of this experiment."));
}

TEST(VerifyCommand, RefusesAnAxisThatDoesNotRunYet) {
  const Ended ended = run({"verify", file_of(kSmall), "--set", "model.vocab_size=40", "--set", "mesh.cp=2"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.errors, AllOf(HasSubstr("mesh.cp"), HasSubstr("is not implemented yet")));
}

TEST(VerifyCommand, OfUsersPlantsNothing) {
  const Ended ended = run({"verify", file_of(kSmall), "--plant", "anything"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.errors, HasSubstr("--plant"));
}

}  // namespace
}  // namespace trireme
