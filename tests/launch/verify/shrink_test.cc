// A shrunk configuration must be one that a user could have written, and must still have what made the layout risky.
#include "launch/verify/shrink.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/config/load.h"
#include "tests/paths.h"

namespace trireme {
namespace {

config::Run recipe(const std::string& name) {
  config::Run run = load_run(std::string(TRIREME_SOURCE_DIR) + "/launch/recipes/" + name + ".yaml", {}, {}).run;
  if (!run.mesh().has_dp()) run.mutable_mesh()->set_dp(1);
  return run;
}

// What YAML of it would be refused for, if anything.
void expect_sound(const config::Run& run) {
  EXPECT_NO_THROW(load_run_text(print_run(run), "shrunk.yaml", {}, {})) << print_run(run);
}

TEST(Shrink, EveryRecipeBecomesASoundConfigurationOfAFewRanks) {
  for (const char* name : {"quickstart", "gpt2-124m", "llama-1b", "llama-8b", "llama-70b"}) {
    const config::Run before = recipe(name);
    const config::Run after = shrink(before).run;
    SCOPED_TRACE(name);
    expect_sound(after);
    EXPECT_LE(after.mesh().dp() * after.mesh().pp() * after.mesh().tp(), 12);
    EXPECT_LE(after.model().hidden_size(), 64);
    EXPECT_EQ(after.mesh().dp() > 1, before.mesh().dp() > 1);
    EXPECT_EQ(after.mesh().pp() > 2, before.mesh().pp() > 2);
    EXPECT_EQ(after.mesh().tp() > 1, before.mesh().tp() > 1);
    EXPECT_EQ(after.zero().stage(), before.zero().stage());
    EXPECT_EQ(after.model().tied_embeddings(), before.model().tied_embeddings());
    EXPECT_EQ(after.model().kv_heads() < after.mesh().tp(), before.model().kv_heads() < before.mesh().tp());
  }
}

TEST(Shrink, SaysWhatItChangedAndNothingElse) {
  const config::Run before = recipe("llama-70b");
  const Shrunk shrunk = shrink(before);
  EXPECT_FALSE(shrunk.changes.empty());
  for (const Shrunk::Change& change : shrunk.changes) EXPECT_NE(change.from, change.to) << change.field;
  EXPECT_TRUE(shrink(shrunk.run).changes.empty()) << "shrinking twice changes " << shrink(shrunk.run).changes[0].field;
}

TEST(Shrink, OfFp16TheLossScaleMovesAndDoesNotOverflow) {
  config::Run run = recipe("llama-8b");
  run.mutable_train()->set_precision(config::fp16);
  run.mutable_loss_scale()->set_min(4096);
  const config::Run after = shrink(run).run;
  expect_sound(after);
  EXPECT_LE(after.loss_scale().initial(), 1024);
  EXPECT_EQ(after.loss_scale().growth_interval(), 2);
  EXPECT_EQ(shrink(recipe("llama-8b")).run.loss_scale().initial(), 65536) << "others do not read it";
}

TEST(Shrink, KeepsStagesThatRecomputeUnlikeParts) {
  config::Run run = recipe("llama-70b");
  run.clear_recompute();
  for (const config::Recompute each : {config::full, config::full, config::full, config::none}) run.add_recompute(each);
  const Shrunk shrunk = shrink(run);
  expect_sound(shrunk.run);
  EXPECT_THAT(shrunk.run.recompute(), testing::ElementsAre(config::full, config::none, config::none));
  const auto change = std::find_if(shrunk.changes.begin(), shrunk.changes.end(),
                                   [](const Shrunk::Change& each) { return each.field == "recompute"; });
  ASSERT_NE(change, shrunk.changes.end());
  EXPECT_EQ(change->from, "[full, full, full, none]");
  EXPECT_EQ(change->to, "[full, none, none]");
  run.set_recompute(3, config::full);
  EXPECT_THAT(shrink(run).run.recompute(), testing::ElementsAre(config::full)) << "four equal choices are one";
}

TEST(Shrink, KeepsFewerMicroBatchesThanStages) {
  config::Run run = recipe("llama-70b");
  run.mutable_pipeline()->set_schedule(config::Pipeline::one_f_one_b);
  run.mutable_pipeline()->set_chunks(1);
  run.mutable_train()->set_global_batch(run.mesh().dp() * 2);
  const config::Run after = shrink(run).run;
  EXPECT_LT(after.train().global_batch() / after.mesh().dp() / after.train().micro_batch(), after.mesh().pp());
}

TEST(Shrink, KeepsWhatDoesNotDivideUneven) {
  config::Run run = recipe("llama-70b");
  run.mutable_model()->set_vocab_size(128257);
  run.mutable_model()->set_ffn_size(28673);
  const config::Run after = shrink(run).run;
  EXPECT_NE(after.model().vocab_size() % after.mesh().tp(), 0);
  EXPECT_NE(after.model().ffn_size() % after.mesh().tp(), 0);
}

}  // namespace
}  // namespace trireme
