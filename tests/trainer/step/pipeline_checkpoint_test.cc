// A checkpoint knows no stages: whichever ranks held what when it was written, it is the same bytes, and any others go
// on from it.
#include <gtest/gtest.h>

#include "tests/trainer/checkpoint/scratch.h"
#include "tests/trainer/small_run.h"
#include "trainer/checkpoint/commit.h"
#include "trainer/loop/train_loop.h"

namespace trireme {
namespace {

constexpr std::int64_t kSamples = 4;

Experiment tied_experiment() {
  Experiment experiment = small_experiment(small_model(config::Model::gpt2, true), kSamples);
  experiment.model.set_layers(3);
  make_noisy(experiment);
  experiment.train.set_precision(config::bf16);
  experiment.train.set_exact_groups(2);
  experiment.numerics = config::exact;
  experiment.optimizer.set_clip_norm(0);
  return experiment;
}

CheckpointState state_of(SmallRun& run, const Experiment& experiment) {
  return {.step = 1,
          .cursor = kSamples,
          .progress = {.applied_updates = 1},
          .dtype = run.step().parameters().dtype(),
          .experiment = experiment.model.DebugString(),
          .config_json = "{}",
          .tokenizer_json = "{}",
          .specs = checkpoint_specs(run.step()),
          .params = checkpoint_params(run.step())};
}

// Step 1 from the initial weights, then a save.
void train_and_save(const Layout& layout, const std::filesystem::path& folder) {
  const Experiment experiment = tied_experiment();
  run_as_ranks(layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
    SmallRun run(group, rank, experiment, layout, {.global_batch = kSamples, .micro_batch = 1});
    run.run(1, 1e-2);
    CheckpointSaver saver(run.rank().context(), run.peers(), folder, {}, 1);
    saver.save(state_of(run, experiment));
    saver.wait();
    EXPECT_EQ(saver.finish().error, "");
  });
}

// The loss of step 2 after loading.
double load_and_train(const Layout& layout, const std::filesystem::path& folder) {
  const Experiment experiment = tied_experiment();
  std::vector<double> losses(static_cast<std::size_t>(layout.mesh.ranks()));
  run_as_ranks(layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
    SmallRun run(group, rank, experiment, layout, {.global_batch = kSamples, .micro_batch = 2});
    std::vector<PassedOver> passed_over;
    const auto resumed = load_newest(run.rank().context(), run.peers(), folder, state_of(run, experiment), passed_over);
    ASSERT_TRUE(resumed);
    run.step().optimizer().resume(resumed->progress);
    losses[static_cast<std::size_t>(rank)] = run.run(2, 1e-2).loss;
    run.run(3, 1e-2);
  });
  for (const double loss : losses) EXPECT_EQ(loss, losses[0]);
  return losses[0];
}

TEST(LocalPipelineCheckpoint, IsTheSameBytesFromAnyStagesAndAnyStagesGoOnFromIt) {
  Layout layouts[4];
  layouts[1].mesh.pp = 3;
  layouts[2].mesh.pp = 2;
  layouts[2].mesh.dp = 2;
  layouts[3].mesh.pp = 2;
  layouts[3].schedule = config::Pipeline::gpipe;
  const ScratchFolder folder;
  for (int i = 0; i < 4; ++i) train_and_save(layouts[i], folder.path() / std::to_string(i));
  const auto saved = [&](int i) { return files_of(list_checkpoints(folder.path() / std::to_string(i)).at(0)); };
  const auto one = saved(0);
  EXPECT_GT(one.size(), 3u);
  for (int i = 1; i < 4; ++i) {
    const auto many = saved(i);
    ASSERT_EQ(many.size(), one.size());
    for (const auto& [name, bytes] : one) EXPECT_TRUE(many.at(name) == bytes) << to_string(layouts[i].mesh) << name;
  }
  const double loss = load_and_train(layouts[0], folder.path() / "1");
  for (int i = 1; i < 4; ++i) EXPECT_EQ(load_and_train(layouts[i], folder.path() / "0"), loss);
}

}  // namespace
}  // namespace trireme
