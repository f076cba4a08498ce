#include <map>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

using config::Pipeline;

constexpr config::Model::Family kFamilies[] = {config::Model::gpt2, config::Model::llama};

// Five layers: no number of stages but 5 divides them. Dropout, smoothing, masks, several documents a sample.
Experiment deep_experiment(config::Model::Family family, config::Precision precision, bool tied) {
  Experiment experiment = small_experiment(small_model(family, tied), 8);
  experiment.model.set_layers(5);
  make_noisy(experiment);
  experiment.train.set_precision(precision);
  experiment.train.set_exact_groups(2);
  experiment.numerics = config::exact;
  experiment.optimizer.set_clip_norm(0.5);
  return experiment;
}

struct History {
  std::vector<double> losses, norms, evaluated;
  oracle::Tensors gradients, masters;
  bool operator==(const History&) const = default;
};

void merge(oracle::Tensors& all, const oracle::Tensors& some) {
  for (const auto& [name, values] : some) {
    const auto [found, is_new] = all.try_emplace(name, values);
    if (!is_new) {
      EXPECT_EQ(found->second, values) << name << " differs from rank to rank";
    }
  }
}

constexpr int kSteps = 2;

// On all ranks of the layout, which must agree about what they report and about parameters that several hold. Each
// rank is held to its plan: the memory and the calls of its last step.
History train(const Experiment& experiment, const Layout& layout, std::int64_t micro_batch,
              const HostOptions& options = {}) {
  std::mutex mutex;
  std::vector<History> histories(static_cast<std::size_t>(layout.mesh.ranks()));
  History together;
  run_as_ranks(layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
    HostOptions how = options;
    how.shuffle_seed += static_cast<std::uint64_t>(rank);
    SmallRun run(group, rank, experiment, layout,
                 {.global_batch = experiment.train.global_batch(), .micro_batch = micro_batch}, how);
    History& mine = histories[static_cast<std::size_t>(rank)];
    const Batch batch = small_batch(experiment.model, {0, 2});
    mine.evaluated = run.rank().read(run.step().sample_losses(batch));
    for (int step = 1; step <= kSteps; ++step) {
      const StepReport report = run.run(step, 1e-2);
      EXPECT_EQ(report.progress.applied_updates, step);  // not one for each micro-batch
      mine.losses.push_back(report.loss);
      mine.norms.push_back(report.grad_norm);
    }
    const oracle::Tensors gradients = run.gradients(), masters = run.masters();
    const std::lock_guard lock(mutex);
    merge(together.gradients, gradients);
    merge(together.masters, masters);
  });
  for (const History& each : histories) EXPECT_EQ(each, histories[0]);
  together.losses = histories[0].losses;
  together.norms = histories[0].norms;
  together.evaluated = histories[0].evaluated;
  return together;
}

Layout pipeline_of(int pp, Pipeline::Schedule schedule, int chunks = 1, int dp = 1) {
  Layout layout;
  layout.mesh.pp = pp;
  layout.mesh.dp = dp;
  layout.schedule = schedule;
  layout.chunks = chunks;
  return layout;
}

void expect_bits(const History& got, const History& want, const std::string& where) {
  EXPECT_EQ(got.losses, want.losses) << where;
  EXPECT_EQ(got.norms, want.norms) << where;
  EXPECT_EQ(got.evaluated, want.evaluated) << where;
  for (const auto& [name, values] : want.gradients) EXPECT_EQ(got.gradients.at(name), values) << where << ": " << name;
  for (const auto& [name, values] : want.masters) EXPECT_EQ(got.masters.at(name), values) << where << ": " << name;
}

TEST(LocalPipeline, AnyScheduleAndStagesOfAnySizeGiveTheBitsOfOneRank) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16}) {
      const Experiment experiment = deep_experiment(family, precision, false);
      const History one = train(experiment, {}, 8);
      for (const int pp : {2, 3, 4})
        for (const Pipeline::Schedule schedule : {Pipeline::gpipe, Pipeline::one_f_one_b}) {
          const std::string where = std::to_string(pp) + " stages, " + Pipeline::Schedule_Name(schedule);
          expect_bits(train(experiment, pipeline_of(pp, schedule), 2), one, where);
        }
      expect_bits(train(experiment, pipeline_of(2, Pipeline::interleaved_1f1b, 2), 1), one, "2 x 2 stages");
      expect_bits(train(experiment, pipeline_of(1, Pipeline::interleaved_1f1b, 3), 2), one, "3 stages of one rank");
    }
}

// Both ends of the pipeline hold the table; a gradient that was not added on either side would show in its next values.
TEST(LocalPipeline, ATiedEmbeddingsGradientIsSummedAcrossStages) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16}) {
      const Experiment experiment = deep_experiment(family, precision, true);
      const History one = train(experiment, {}, 8);
      const Layout layouts[] = {pipeline_of(2, Pipeline::one_f_one_b), pipeline_of(4, Pipeline::gpipe),
                                pipeline_of(2, Pipeline::gpipe, 1, 2), pipeline_of(2, Pipeline::interleaved_1f1b, 2),
                                pipeline_of(1, Pipeline::interleaved_1f1b, 2)};
      for (const Layout& layout : layouts)  // a replica that missed it would show in the next loss
        expect_bits(train(experiment, layout, 2), one, to_string(layout.mesh));
    }
}

TEST(LocalPipeline, FewerMicroBatchesThanStagesGiveTheBitsOfOneRank) {
  const Experiment experiment = deep_experiment(config::Model::llama, config::fp32, false);
  const History one = train(experiment, {}, 4);
  for (const std::int64_t micro_batch : {8, 5})
    expect_bits(train(experiment, pipeline_of(4, Pipeline::one_f_one_b), micro_batch), one, "4 stages");
}

TEST(LocalPipeline, BesideDataParallelismGivesTheBitsOfOneRank) {
  for (const config::Model::Family family : kFamilies) {
    const Experiment experiment = deep_experiment(family, config::bf16, false);
    const History one = train(experiment, {}, 8);
    expect_bits(train(experiment, pipeline_of(2, Pipeline::one_f_one_b, 1, 2), 1), one, "2 x 2");
    expect_bits(train(experiment, pipeline_of(2, Pipeline::interleaved_1f1b, 2, 2), 2), one, "2 x 2, interleaved");
    expect_bits(train(experiment, pipeline_of(3, Pipeline::gpipe, 1, 2), 2), one, "3 x 2");
  }
}

TEST(LocalPipeline, FollowsDeviceMemoryAndNeverNeedsTheTimingOfStreams) {
  const Experiment experiment = deep_experiment(config::Model::gpt2, config::bf16, false);
  const Layout layouts[] = {pipeline_of(3, Pipeline::one_f_one_b), pipeline_of(3, Pipeline::gpipe),
                            pipeline_of(2, Pipeline::interleaved_1f1b, 2)};
  for (const Layout& layout : layouts) {
    const History plain = train(experiment, layout, 1);
    for (std::uint64_t seed = 1; seed <= 2; ++seed)
      expect_bits(
          train(experiment, layout, 1, {.streams = StreamMode::kLazy, .shuffle_seed = 10 * seed, .guard_memory = true}),
          plain, "lazy streams");
  }
}

TEST(LocalPipeline, TakesTheMemoryAndMakesTheCallsOfItsPlanOnEveryRank) {
  const Experiment experiment = deep_experiment(config::Model::llama, config::fp32, false);
  const Layout layouts[] = {pipeline_of(3, Pipeline::one_f_one_b), pipeline_of(2, Pipeline::gpipe, 1, 2),
                            pipeline_of(2, Pipeline::interleaved_1f1b, 2)};
  for (const Layout& layout : layouts)
    run_as_ranks(layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
      const BatchPlan batches{.global_batch = 8, .micro_batch = 1};
      const StepPlan planned = plan_step(experiment, layout, batches, rank);
      SmallRun run(group, rank, experiment, layout, batches);
      run.run(1, 0);
      run.step().sample_losses(small_batch(experiment.model, {0, 1}));
      run.rank().context().device->synchronize(run.rank().context().compute);
      EXPECT_EQ(run.rank().context().arena->peak_bytes(), planned.arena_bytes) << "rank " << rank;
      EXPECT_EQ(run.peers().calls(), planned.calls) << "rank " << rank;
    });
}

TEST(LocalPipeline, CallsNameTheMicroBatchAndTheStages) {
  const Experiment experiment = deep_experiment(config::Model::llama, config::fp32, false);
  const BatchPlan batches{.global_batch = 8, .micro_batch = 2};
  std::vector<std::string> names;
  for (const RecordedCall& call : plan_step(experiment, pipeline_of(2, Pipeline::one_f_one_b), batches, 0).calls)
    if (call.op == "exchange") names.push_back(call.group + ": " + call.tensor);
  EXPECT_THAT(names, testing::Contains("pp: micro-batch 0 from stage 0 to 1"));
  EXPECT_THAT(names, testing::Contains("pp gradients: micro-batch 0 from stage 1 to 0"));
}

TEST(Recomputation, GivesTheSameBitsWithLessMemory) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16})
      for (const config::Numerics numerics : {config::fast, config::exact}) {
        Experiment experiment = deep_experiment(family, precision, true);
        experiment.numerics = numerics;
        const BatchPlan batches{.global_batch = 8, .micro_batch = 4};
        std::size_t last_peak = 0;
        std::optional<History> plain;
        for (const config::Recompute recompute : {config::none, config::selective, config::full}) {
          Layout layout;
          layout.recompute = recompute;
          const StepPlan plan = plan_step(experiment, layout, batches, 0);
          const std::size_t peak = plan.bytes_at_peak.at("activations");
          if (plain) {
            EXPECT_LT(peak, last_peak) << config::Recompute_Name(recompute);
          }
          last_peak = peak;
          const History history = train(experiment, layout, 4);
          if (!plain) plain = history;
          expect_bits(history, *plain, config::Recompute_Name(recompute));
        }
      }
}

TEST(Recomputation, OfStagesGivesTheBitsOfOneRank) {
  const Experiment experiment = deep_experiment(config::Model::gpt2, config::bf16, false);
  const History one = train(experiment, {}, 8);
  for (const config::Recompute recompute : {config::selective, config::full}) {
    Layout layout = pipeline_of(2, Pipeline::one_f_one_b);
    layout.recompute = recompute;
    expect_bits(train(experiment, layout, 1), one, config::Recompute_Name(recompute));
  }
}

TEST(Recomputation, IsEachRanksOwnChoice) {
  const Experiment experiment = deep_experiment(config::Model::gpt2, config::bf16, false);
  const History one = train(experiment, {}, 8);
  Layout layout = pipeline_of(2, Pipeline::interleaved_1f1b);
  layout.chunks = 2;
  const auto activations = [&](const Recomputation& recompute, int rank) {
    layout.recompute = recompute;
    const BatchPlan batches{.global_batch = experiment.train.global_batch(), .micro_batch = 1};
    return plan_step(experiment, layout, batches, rank).bytes_at_peak.at("activations");
  };
  const Recomputation first({config::full, config::none}), last({config::none, config::full});
  EXPECT_EQ(activations(first, 0), activations(config::full, 0));
  EXPECT_EQ(activations(first, 1), activations(config::none, 1));
  EXPECT_EQ(activations(last, 0), activations(config::none, 0));
  EXPECT_EQ(activations(last, 1), activations(config::full, 1));
  for (const Recomputation& each : {first, last}) {
    layout.recompute = each;
    expect_bits(train(experiment, layout, 1), one, to_string(each));
  }
}

}  // namespace
}  // namespace trireme
