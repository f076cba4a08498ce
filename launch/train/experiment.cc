#include "launch/train/experiment.h"

#include "launch/config/load.h"
#include "trainer/step/rank_batches.h"

namespace trireme {

Experiment experiment_of(const config::Run& run) {
  return {.model = run.model(),
          .train = run.train(),
          .optimizer = run.optimizer(),
          .loss_scale = run.loss_scale(),
          .numerics = run.numerics(),
          .seed = run.run().seed()};
}

Layout layout_of(const config::Run& run) {
  const config::Mesh& mesh = run.mesh();
  return {.mesh = {mesh.dp(), mesh.pp(), mesh.cp(), mesh.tp(), mesh.ep(), parse_axis_order(mesh.order()).value()},
          .zero_stage = run.zero().stage(),
          .schedule = run.pipeline().schedule(),
          .chunks = run.pipeline().chunks(),
          .recompute = recomputation_of(run)};
}

Recomputation recomputation_of(const config::Run& run) {
  std::vector<config::Recompute> choices;
  for (const int choice : run.recompute()) choices.push_back(static_cast<config::Recompute>(choice));
  return Recomputation(std::move(choices));
}

BatchPlan batch_plan_of(const config::Run& run, int rank) {
  return rank_batches(layout_of(run).mesh, rank,
                      {.global_batch = run.train().global_batch(), .micro_batch = run.train().micro_batch()});
}

std::int64_t steps_of(const config::Run& run) {
  if (run.train().has_steps()) return run.train().steps();
  const std::int64_t per_step = std::int64_t{run.train().global_batch()} * run.model().sequence_length();
  return (run.train().tokens() + per_step - 1) / per_step;
}

AttentionScope attention_of(const config::Run& run) {
  return run.data().attention() == config::Data::document ? AttentionScope::kDocument : AttentionScope::kSample;
}

std::string experiment_text(const config::Run& run, const DatasetManifest& data) {
  config::Run what = run;
  what.clear_mesh();
  what.clear_zero();
  what.clear_pipeline();
  what.clear_recompute();
  what.clear_device();
  what.clear_monitoring();
  what.clear_checkpoint();
  what.clear_validation();
  if (run.train().precision() != config::fp16) what.clear_loss_scale();
  what.mutable_run()->clear_dir();
  what.mutable_run()->clear_threads();
  what.mutable_data()->clear_path();
  what.mutable_model()->clear_from();
  what.mutable_train()->clear_steps();
  what.mutable_train()->clear_tokens();
  what.mutable_train()->clear_micro_batch();
  const std::string manifest = manifest_text(data);
  return what.DebugString() + "data_manifest: \"" + manifest.substr(0, manifest.find('\n')) + "\"\n";
}

}  // namespace trireme
