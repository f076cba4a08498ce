// ZeRO may not show: whatever part of the gradients, optimizer state and weights a rank keeps, what is trained is what
// one rank trains, to the bit in exact numerics.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/cuda/oracle/whole_tensor.h"
#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

constexpr double kRate = 1e-2;
constexpr config::Model::Family kFamilies[] = {config::Model::gpt2, config::Model::llama};

// Parameters of several blocks of 1024, so that parts of ranks end within them; GPT-2's head is tied.
Experiment experiment_of(config::Model::Family family, config::Precision precision, std::int64_t global_batch) {
  config::Model model = small_model(family, family == config::Model::gpt2);
  model.set_vocab_size(131);
  model.set_ffn_size(101);
  Experiment experiment = small_experiment(model, global_batch);
  make_noisy(experiment);
  experiment.train.set_precision(precision);
  experiment.optimizer.set_weight_decay(0.3);
  return experiment;
}

Experiment exact(Experiment experiment, int groups) {
  experiment.numerics = config::exact;
  experiment.train.set_exact_groups(groups);
  return experiment;
}

struct History {
  std::vector<double> losses, norms;
  oracle::Tensors masters, weights, gradients;  // after the last step
  bool operator==(const History&) const = default;
};

// Steps 1 to `steps` on the ranks of a mesh; what all of them agree on.
History train(const Experiment& experiment, const Layout& layout, const BatchPlan& plan, int steps,
              const HostOptions& options = {}, double rate = kRate) {
  std::vector<History> histories(static_cast<std::size_t>(layout.mesh.ranks()));
  run_as_ranks(layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
    HostOptions how = options;
    how.shuffle_seed += static_cast<std::uint64_t>(rank);
    SmallRun run(group, rank, experiment, layout, plan, how);
    History& history = histories[static_cast<std::size_t>(rank)];
    for (int step = 1; step <= steps; ++step) {
      const StepReport report = run.run(step, rate);
      history.losses.push_back(report.loss);
      history.norms.push_back(report.grad_norm);
    }
    history.masters = run.masters();
    history.weights = run.weights();
    history.gradients = run.gradients();
  });
  for (const History& other : histories) EXPECT_EQ(other, histories[0]);
  return histories[0];
}
History train(const Experiment& experiment, const BatchPlan& plan, int zero_stage, int steps,
              const HostOptions& options = {}, double rate = kRate) {
  const Layout layout{.mesh = {.dp = static_cast<int>(plan.dp)}, .zero_stage = zero_stage};
  return train(experiment, layout, plan, steps, options, rate);
}

std::string text(const BatchPlan& plan, int stage) {
  return "dp " + std::to_string(plan.dp) + ", stage " + std::to_string(stage) + ", micro-batch " +
         std::to_string(plan.micro_batch);
}

TEST(LocalZeroExact, AnyRanksStagesAndMicroBatchesGiveTheSameBits) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16}) {
      const Experiment experiment = exact(experiment_of(family, precision, 8), 4);
      const History one = train(experiment, {.global_batch = 8, .micro_batch = 8}, 0, 2);
      for (const int stage : {0, 1, 2, 3})
        for (const auto& [dp, micro_batch] :
             {std::pair(1, 3), std::pair(2, 1), std::pair(2, 4), std::pair(4, 1), std::pair(4, 2)}) {
          const BatchPlan plan{.global_batch = 8, .micro_batch = micro_batch, .dp = dp};
          EXPECT_EQ(train(experiment, plan, stage, 2), one) << text(plan, stage);
        }
    }
}

TEST(LocalZeroExact, NoStageNeedsTheTimingOfStreamsOrFollowsDeviceMemory) {
  for (const config::Model::Family family : kFamilies) {
    const Experiment experiment = exact(experiment_of(family, config::bf16, 4), 4);
    const BatchPlan plan{.global_batch = 4, .micro_batch = 1, .dp = 2};
    const History plain = train(experiment, plan, 0, 2);
    for (const int stage : {1, 2, 3})
      EXPECT_EQ(
          train(experiment, plan, stage, 2, {.streams = StreamMode::kLazy, .shuffle_seed = 5, .guard_memory = true}),
          plain)
          << text(plan, stage);
  }
}

TEST(LocalZeroExact, BesideAPipelineGivesTheSameBits) {
  Experiment experiment = exact(experiment_of(config::Model::llama, config::bf16, 8), 4);
  experiment.model.set_layers(3);
  const History one = train(experiment, {.global_batch = 8, .micro_batch = 8}, 0, 2);
  for (const int stage : {0, 1, 2, 3})
    for (const auto schedule : {config::Pipeline::gpipe, config::Pipeline::one_f_one_b}) {
      const Layout layout{.mesh = {.dp = 2, .pp = 2}, .zero_stage = stage, .schedule = schedule};
      EXPECT_EQ(train(experiment, layout, {.global_batch = 8, .micro_batch = 1, .dp = 2}, 2), one) << stage;
    }
}

TEST(LocalZero, BesideTensorParallelismStaysWithinTheBound) {
  const Experiment experiment = experiment_of(config::Model::llama, config::fp32, 6);
  const History one = train(experiment, {.global_batch = 6, .micro_batch = 6}, 0, 1);
  for (const int stage : {0, 1, 2, 3}) {
    const Layout layout{.mesh = {.dp = 2, .tp = 3}, .zero_stage = stage};
    const History many = train(experiment, layout, {.global_batch = 6, .micro_batch = 1, .dp = 2}, 1);
    EXPECT_NEAR(many.losses[0] / one.losses[0], 1, 2048 * 0x1p-24) << stage;
    EXPECT_NEAR(many.norms[0] / one.norms[0], 1, 2048 * 0x1p-24) << stage;
  }
}

TEST(LocalZero, FastNumericsGiveTheSameBitsWithoutTheTimingOfStreams) {
  const Experiment experiment = experiment_of(config::Model::llama, config::fp32, 6);
  const BatchPlan plan{.global_batch = 6, .micro_batch = 1, .dp = 2};
  for (const int stage : {1, 2, 3}) {
    const History plain = train(experiment, plan, stage, 2);
    for (std::uint64_t seed = 1; seed <= 3; ++seed)
      EXPECT_EQ(train(experiment, plan, stage, 2,
                      {.streams = StreamMode::kLazy, .shuffle_seed = 10 * seed, .guard_memory = true}),
                plain)
          << text(plan, stage);
  }
}

// Against one rank with one micro-batch: a gradient is a sum over tokens whatever the layout, so it may differ by the
// roundings of sums alone. 2048 u of the largest gradient.
TEST(LocalZero, FastNumericsStayWithinTheBoundOfOneRankUnevenSamplesToo) {
  for (const config::Model::Family family : kFamilies) {
    const Experiment experiment = experiment_of(family, config::fp32, 7);
    const History one = train(experiment, {.global_batch = 7, .micro_batch = 7}, 0, 1);
    double largest = 0;
    for (const auto& [name, values] : one.gradients)
      for (const double value : values) largest = std::max(largest, std::abs(value));
    for (const int stage : {0, 1, 2, 3})
      for (const std::int64_t dp : {1, 2, 3, 4})
        for (const std::int64_t micro_batch : {1, 2}) {
          const BatchPlan plan{.global_batch = 7, .micro_batch = micro_batch, .dp = dp};
          const History many = train(experiment, plan, stage, 1);
          EXPECT_NEAR(many.losses[0] / one.losses[0], 1, 2048 * 0x1p-24) << text(plan, stage);
          EXPECT_NEAR(many.norms[0] / one.norms[0], 1, 2048 * 0x1p-24) << text(plan, stage);
          double off = 0;
          for (const auto& [name, values] : one.gradients)
            for (std::size_t i = 0; i < values.size(); ++i)
              off = std::max(off, std::abs(many.gradients.at(name)[i] - values[i]));
          EXPECT_LE(off, 2048 * 0x1p-24 * largest) << text(plan, stage);
        }
  }
}

TEST(LocalZero, TakesTheMemoryAndMakesTheCallsOfItsPlanAtEveryStage) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Numerics numerics : {config::fast, config::exact})
      for (const int stage : {0, 1, 2, 3}) {
        // 7 samples of 3 ranks in fast numerics: one has a micro-batch of none.
        const int dp = numerics == config::exact ? 2 : 3;
        const std::int64_t samples = numerics == config::exact ? 6 : 7;
        Experiment experiment = experiment_of(family, stage % 2 == 0 ? config::bf16 : config::fp32, samples);
        if (numerics == config::exact) experiment = exact(experiment, 2);
        run_as_ranks(dp, [&](LocalGroup& group, int rank) {
          const BatchPlan plan{.global_batch = samples, .micro_batch = 2};
          const Layout layout{.mesh = {.dp = dp}, .zero_stage = stage};
          const StepPlan planned = plan_step(experiment, layout, plan, rank);
          SmallRun run(group, rank, experiment, layout, plan);
          run.run(1, kRate);
          run.step().sample_losses(small_batch(experiment.model, {0, plan.micro_batch}));
          run.rank().context().device->synchronize(run.rank().context().compute);
          EXPECT_EQ(run.rank().context().arena->peak_bytes(), planned.arena_bytes) << stage;
          EXPECT_EQ(run.rank().context().arena->bytes_at_peak(), planned.bytes_at_peak) << stage;
          EXPECT_EQ(run.peers().calls(), planned.calls) << stage;
          // And again: nothing of a step is left behind, so the next ones need no more.
          run.run(2, kRate);
          run.step().sample_losses(small_batch(experiment.model, {0, plan.micro_batch}));
          run.run(3, kRate);
          EXPECT_EQ(run.rank().context().arena->peak_bytes(), planned.arena_bytes) << stage;
        });
      }
}

// What the stages are for, on 4 ranks: a quarter of the optimizer, then of the gradients, then of the parameters.
TEST(LocalZero, EachStageKeepsAPartOfOneThingMore) {
  const Experiment experiment = experiment_of(config::Model::gpt2, config::bf16, 4);
  const auto planned = [&](int dp, int stage) {
    const BatchPlan plan{.global_batch = 4, .micro_batch = 1};
    return plan_step(experiment, {.mesh = {.dp = dp}, .zero_stage = stage}, plan, 0).bytes_at_peak;
  };
  const auto at = [](const std::map<std::string, std::size_t>& bytes, const char* what) {
    const auto found = bytes.find(what);
    return found == bytes.end() ? 0.0 : static_cast<double>(found->second);
  };
  auto zero = planned(4, 0);
  const double scalars = 2048;  // control, flags, and what 256 bytes of alignment take
  for (const int stage : {1, 2, 3}) {
    auto now = planned(4, stage);
    EXPECT_NEAR(at(now, "optimizer"), at(zero, "optimizer") / 4, scalars) << stage;
    EXPECT_NEAR(at(now, "gradients"), at(zero, "gradients") / (stage >= 2 ? 4 : 1), scalars) << stage;
    EXPECT_NEAR(at(now, "parameters"), at(zero, "parameters") / (stage == 3 ? 4 : 1), scalars) << stage;
  }
}

TEST(LocalZero, EvaluationSeesTheSameLossesAtEveryStage) {
  const Experiment experiment = exact(experiment_of(config::Model::llama, config::bf16, 4), 4);
  std::vector<double> want;
  for (const int stage : {0, 1, 3})
    run_as_ranks(2, [&](LocalGroup& group, int rank) {
      SmallRun run(group, rank, experiment, {.mesh = {.dp = 2}, .zero_stage = stage},
                   {.global_batch = 4, .micro_batch = 2});
      run.run(1, kRate);
      // A rank whose windows have run out takes part with none.
      run.step().sample_losses(small_batch(experiment.model, {0, rank == 0 ? 2 : 0}));
      const std::vector<double> losses =
          run.rank().read(run.step().sample_losses(small_batch(experiment.model, {3, 5})));
      if (rank == 1) return;
      if (stage == 0) want = losses;
      EXPECT_EQ(losses, want) << stage;
    });
}

// The mean over the tokens of the global batch, not of the ranks' means.
TEST(LocalZero, TheLossIsOneMeanOverUnevenlyMaskedTokens) {
  const Experiment experiment = small_experiment(small_model(config::Model::gpt2, true), 4);
  const BatchPlan plan{.global_batch = 4, .micro_batch = 1};
  for (const int stage : {0, 1, 2, 3})
    run_as_ranks(2, [&](LocalGroup& group, int rank) {
      SmallRun run(group, rank, experiment, {.mesh = {.dp = 2}, .zero_stage = stage}, plan);
      const oracle::Tensors weights = run.masters();
      const StepReport report = run.run(1, kRate);
      const oracle::Tensors gradients = run.gradients();
      const auto oracle_of = [&](SampleRange samples) {
        const std::vector<oracle::Token> tokens = tokens_of(small_batch(experiment.model, samples));
        return oracle::run(decoder_of(experiment), weights, tokens, experiment.seed, oracle::Mode::kTraining);
      };
      const oracle::Outcome all = oracle_of({0, 4}), first = oracle_of({0, 2}), second = oracle_of({2, 4});
      EXPECT_NEAR(report.loss, all.loss, 1e-5 * all.loss);
      EXPECT_EQ(report.tokens, small_batch(experiment.model, {0, 4}).unmasked_tokens());
      ASSERT_GT(std::abs((first.loss + second.loss) / 2 - all.loss), 1e-3 * all.loss) << "the masks are too even";
      double off = 0, of_means = 0;
      for (const auto& [name, values] : all.gradients)
        for (std::size_t i = 0; i < values.size(); ++i) {
          off = std::max(off, std::abs(gradients.at(name)[i] - values[i]));
          of_means = std::max(of_means,
                              std::abs((first.gradients.at(name)[i] + second.gradients.at(name)[i]) / 2 - values[i]));
        }
      EXPECT_LT(off, 1e-5);
      ASSERT_GT(of_means, 1e-3) << "the masks are too even";
    });
}

// The tied table has two gradients and, under ZeRO, each of its parts one owner: it decays once.
TEST(LocalZero, WeightDecayIsAppliedOnceToWhatIsShared) {
  Experiment experiment = experiment_of(config::Model::gpt2, config::fp32, 4);
  experiment.optimizer.set_weight_decay(5);
  const config::Optimizer& options = experiment.optimizer;
  for (const int stage : {0, 1, 2, 3})
    run_as_ranks(2, [&](LocalGroup& group, int rank) {
      SmallRun run(group, rank, experiment, {.mesh = {.dp = 2}, .zero_stage = stage},
                   {.global_batch = 4, .micro_batch = 2});
      const oracle::Tensors before = run.masters();
      const StepReport report = run.run(1, kRate);
      const oracle::Tensors after = run.masters(), gradients = run.gradients();
      for (const auto& [name, values] : before) {
        const std::vector<double> zero(values.size());
        const bool decayed = name.ends_with(".weight") && name.find("norm") == std::string::npos;
        const oracle::AdamWUpdate want = oracle::adamw(
            values, zero, zero, gradients.at(name),
            {static_cast<float>(kRate), static_cast<float>(options.beta1()), static_cast<float>(options.beta2()),
             static_cast<float>(options.epsilon()), static_cast<float>(decayed ? options.weight_decay() : 0)},
            report.clip, 1);
        for (std::size_t i = 0; i < values.size(); ++i)
          ASSERT_NEAR(after.at(name)[i], want.master.value[i], 16 * 0x1p-24 * want.master.terms[i]) << name;
      }
    });
}

// Updates far below what bf16 resolves add up in the masters.
TEST(LocalZero, MastersAreUpdatedFromMastersNotFromTheirRounding) {
  const Experiment experiment = exact(experiment_of(config::Model::llama, config::bf16, 4), 2);
  constexpr double kSmallRate = 1e-6;
  constexpr int kSteps = 6;
  for (const int stage : {0, 1, 2, 3}) {
    const BatchPlan plan{.global_batch = 4, .micro_batch = 2, .dp = 2};
    const History initial = train(experiment, plan, stage, 0);
    const History trained = train(experiment, plan, stage, kSteps, {}, kSmallRate);
    double moved = 0;
    for (const auto& [name, values] : trained.masters)
      for (std::size_t i = 0; i < values.size(); ++i) {
        moved = std::max(moved, std::abs(values[i] - initial.masters.at(name)[i]));
        ASSERT_EQ(trained.weights.at(name)[i], oracle::round_to(oracle::kBF16, values[i])) << name;
      }
    EXPECT_GT(moved, kSteps / 2 * kSmallRate);
    EXPECT_LT(moved, 2 * kSteps * kSmallRate);  // AdamW moves a weight by about the rate
  }
}

}  // namespace
}  // namespace trireme
