// Tensor parallelism holds boxes of parameters, and of some several ranks hold the same; a checkpoint knows nothing of
// either. What one layout wrote, any other reads and writes again, byte for byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/checkpoint/scratch.h"
#include "tests/trainer/small_run.h"
#include "trainer/loop/train_loop.h"

namespace trireme {
namespace {

// Of llama with 4 heads on 2 of K and V: tp 4 shares each of these between two ranks. Nothing else divides.
Experiment experiment_of(config::Model::Family family) {
  config::Model model = small_model(family, family == config::Model::gpt2);
  model.set_heads(4);
  model.set_head_dim(6);
  model.set_kv_heads(family == config::Model::llama ? 2 : 4);
  model.set_ffn_size(41);
  Experiment experiment = small_experiment(model, 4);
  experiment.train.set_precision(config::bf16);
  return experiment;
}

CheckpointState state_of(TrainingStep& training, std::int64_t step) {
  CheckpointState state{.step = step,
                        .cursor = 4 * step,
                        .progress = {.applied_updates = step},
                        .dtype = training.parameters().dtype(),
                        .experiment = "small",
                        .config_json = "{}",
                        .tokenizer_json = "{}",
                        .specs = {},
                        .params = checkpoint_params(training)};
  for (const ParamSpec& spec : training.model_specs())
    if (spec.tied_to.empty()) state.specs.push_back(&spec);
  return state;
}

void with_run(const Experiment& experiment, const MeshShape& mesh, const std::function<void(SmallRun&)>& body) {
  run_as_ranks(mesh.ranks(), [&](LocalGroup& group, int rank) {
    SmallRun run(group, rank, experiment, {.mesh = mesh}, {.global_batch = 4, .micro_batch = 2});
    body(run);
  });
}

std::map<std::string, std::string> saved(SmallRun& run, const std::filesystem::path& folder, std::int64_t step) {
  CheckpointSaver saver(run.rank().context(), run.rank().peers(), folder, {}, 1);
  saver.save(state_of(run.step(), step));
  EXPECT_EQ(saver.finish().error, "");
  return files_of(folder / ("step-0000000" + std::to_string(step)));
}

TEST(LocalTensorCheckpoint, TheFirstCheckpointHasTheBytesOfOneRanks) {
  for (const config::Model::Family family : {config::Model::gpt2, config::Model::llama}) {
    const ScratchFolder scratch;
    std::map<std::string, std::string> one;
    for (const MeshShape& mesh : {MeshShape{}, MeshShape{.tp = 2}, MeshShape{.dp = 2, .tp = 4}})
      with_run(experiment_of(family), mesh, [&](SmallRun& run) {
        const auto files = saved(run, scratch.path() / std::to_string(mesh.ranks()), 0);
        if (mesh.ranks() == 1) one = files;
        EXPECT_TRUE(files == one) << to_string(mesh);
      });
  }
}

TEST(LocalTensorCheckpoint, WhatOneLayoutWroteAnyOtherReadsAndWritesAgain) {
  for (const config::Model::Family family : {config::Model::gpt2, config::Model::llama}) {
    const Experiment experiment = experiment_of(family);
    const ScratchFolder scratch;
    std::map<std::string, std::string> written;
    with_run(experiment, {.tp = 4}, [&](SmallRun& run) {
      run.run(1, 1e-2);
      const auto files = saved(run, scratch.path() / "written", 1);
      if (run.rank().peers().rank() == 0) written = files;
    });
    for (const MeshShape& mesh : {MeshShape{}, MeshShape{.dp = 2, .tp = 2}, MeshShape{.tp = 4}})
      with_run(experiment, mesh, [&](SmallRun& run) {
        std::vector<PassedOver> passed_over;
        const auto resumed = load_newest(run.rank().context(), run.rank().peers(), scratch.path() / "written",
                                         state_of(run.step(), 0), passed_over);
        ASSERT_TRUE(resumed);
        run.step().optimizer().resume(resumed->progress);
        EXPECT_TRUE(saved(run, scratch.path() / std::to_string(mesh.ranks()), 1) == written) << to_string(mesh);
      });
  }
}

}  // namespace
}  // namespace trireme
