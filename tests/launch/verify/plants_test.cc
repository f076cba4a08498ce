// `trireme verify` finds every mistake that can be planted, and says what differs.
#include "tests/trainer/verify/plants.h"

#include <gtest/gtest.h>

#include "launch/config/load.h"
#include "launch/verify/verify_run.h"

namespace trireme {
namespace {

// What every planted mistake needs to matter: several ranks on every axis, fewer heads of K and V than tp, an embedding
// tied across stages, dropout of both kinds, smoothing, z-loss, accumulation, bf16, a vocabulary that does not divide.
config::Run run_with_everything() {
  return load_run_text(
             "data: {path: /nonexistent}\n"
             "model: {family: llama, layers: 2, hidden_size: 16, heads: 2, kv_heads: 1, ffn_size: 24, vocab_size: 33,\n"
             "  sequence_length: 6, tied_embeddings: true, dropout: 0.1, attention_dropout: 0.2}\n"
             "train: {steps: 3, global_batch: 8, micro_batch: 1, label_smoothing: 0.1, z_loss: 0.01, precision: bf16}\n"
             "mesh: {dp: 2, pp: 2, tp: 2}\n",
             "everything.yaml", {}, {})
      .run;
}

TEST(Plants, WithoutOneNothingIsReported) {
  const VerifyReport report = verify_run(run_with_everything());
  EXPECT_TRUE(report.agrees) << report.text;
}

class EveryPlant : public testing::TestWithParam<std::size_t> {};

TEST_P(EveryPlant, IsFoundByVerify) {
  const Plant& plant = all_plants()[GetParam()];
  const VerifyReport report = verify_run(run_with_everything(), &plant.seams);
  EXPECT_FALSE(report.agrees) << plant.name << ": " << plant.mistake << "\n" << report.text;
}

std::string test_name(const testing::TestParamInfo<std::size_t>& info) {
  std::string name = all_plants()[info.param].name;
  for (char& letter : name)
    if (letter == '-') letter = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, EveryPlant, testing::Range<std::size_t>(0, all_plants().size()), test_name);

}  // namespace
}  // namespace trireme
