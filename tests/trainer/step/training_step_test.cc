#include "trainer/step/training_step.h"

#include <chrono>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cuda/oracle/whole_tensor.h"
#include "tests/trainer/determined.h"
#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

constexpr double kFp32 = 0x1p-24;
constexpr config::Model::Family kFamilies[] = {config::Model::gpt2, config::Model::llama};

Experiment noisy_experiment(config::Model::Family family, std::int64_t global_batch) {
  Experiment experiment = small_experiment(small_model(family, family == config::Model::gpt2), global_batch);
  make_noisy(experiment);
  return experiment;
}

struct History {
  std::vector<double> losses, norms;
  oracle::Tensors masters;
  bool operator==(const History&) const = default;
};

// Steps 1 to `steps` from the initial weights.
History train(LocalGroup& group, const Experiment& experiment, const BatchPlan& plan, int steps,
              const HostOptions& options = {}) {
  SmallRun run(group, experiment, plan, options);
  History history;
  for (int step = 1; step <= steps; ++step) {
    const StepReport report = run.run(step, 1e-2);
    history.losses.push_back(report.loss);
    history.norms.push_back(report.grad_norm);
  }
  history.masters = run.masters();
  return history;
}
History train_alone(const Experiment& experiment, const BatchPlan& plan, int steps, const HostOptions& options = {}) {
  LocalGroup group(1);
  return train(group, experiment, plan, steps, options);
}
// On dp ranks; rank 0's, after all were seen to agree.
History train_together(const Experiment& experiment, BatchPlan plan, int steps, const HostOptions& options = {}) {
  std::vector<History> histories(static_cast<std::size_t>(plan.dp));
  run_as_ranks(static_cast<int>(plan.dp), [&](LocalGroup& group, int rank) {
    BatchPlan mine = plan;
    mine.rank = rank;
    HostOptions how = options;
    how.shuffle_seed += static_cast<std::uint64_t>(rank);
    histories[static_cast<std::size_t>(rank)] = train(group, experiment, mine, steps, how);
  });
  for (const History& other : histories) EXPECT_EQ(other, histories[0]);
  return histories[0];
}

// AdamW with clipping around the oracle's gradients.
History train_oracle(const Experiment& experiment, oracle::Tensors weights, const BatchPlan& plan, int steps,
                     const oracle::Rounding& rounding) {
  const config::Optimizer& options = experiment.optimizer;
  History history;
  oracle::Tensors first, second;
  for (int step = 1; step <= steps; ++step) {
    const std::vector<oracle::Token> tokens = tokens_of(small_batch(experiment.model, plan.step_range(step - 1)));
    const oracle::Outcome outcome =
        oracle::run(decoder_of(experiment), weights, tokens, experiment.seed, oracle::Mode::kTraining, rounding);
    double squares = 0;
    for (const auto& [name, values] : outcome.gradients)
      for (const double one : values) squares += one * one;
    const double norm = std::sqrt(squares);
    const double clip = norm > options.clip_norm() ? options.clip_norm() / norm : 1;
    for (const auto& [name, values] : outcome.gradients) {
      const bool decayed = name.ends_with(".weight") && name.find("norm") == std::string::npos;
      first[name].resize(values.size());
      second[name].resize(values.size());
      const oracle::AdamWUpdate update = oracle::adamw(weights[name], first[name], second[name], values,
                                                       {.learning_rate = static_cast<float>(1e-2),
                                                        .beta1 = static_cast<float>(options.beta1()),
                                                        .beta2 = static_cast<float>(options.beta2()),
                                                        .epsilon = static_cast<float>(options.epsilon()),
                                                        .weight_decay = decayed ? options.weight_decay() : 0},
                                                       clip, step);
      weights[name] = update.master.value;
      first[name] = update.m.value;
      second[name] = update.v.value;
    }
    history.losses.push_back(outcome.loss);
    history.norms.push_back(norm);
  }
  history.masters = weights;
  return history;
}

// Each step's own roundings beside the gradients': a handful of operations on the weight, by fp32.
constexpr double kOwnRoundings = 8;

TEST(TrainingStep, SeveralStepsOfAdamWAreTheOraclesAsFarAsRoundingDeterminesThem) {
  for (const config::Model::Family family : kFamilies) {
    constexpr int kSteps = 4;
    Experiment experiment = noisy_experiment(family, 4);
    experiment.optimizer.set_clip_norm(0.5);
    experiment.optimizer.set_weight_decay(0.3);
    const BatchPlan plan{.global_batch = 4, .micro_batch = 3};
    LocalGroup group(1);
    SmallRun run(group, experiment, plan);
    const oracle::Tensors initial = run.masters();
    History got;
    bool clipped = false;
    for (int step = 1; step <= kSteps; ++step) {
      const StepReport report = run.run(step, 1e-2);
      got.losses.push_back(report.loss);
      got.norms.push_back(report.grad_norm);
      clipped = clipped || report.clip < 1;
      EXPECT_EQ(report.progress.applied_updates, step);
    }
    got.masters = run.masters();
    EXPECT_TRUE(clipped);

    const History exact = train_oracle(experiment, initial, plan, kSteps, {});
    Determined losses, norms;
    std::map<std::string, Determined> masters;
    losses.set(exact.losses);
    norms.set(exact.norms);
    for (const auto& [name, values] : exact.masters) masters[name].set(values);
    for (int i = 1; i <= kRuns; ++i) {
      const History rounded =
          train_oracle(experiment, initial, plan, kSteps, {kFp32, 0, static_cast<std::uint64_t>(i)});
      losses.widen(rounded.losses);
      norms.widen(rounded.norms);
      for (auto& [name, values] : masters) values.widen(rounded.masters.at(name));
    }
    const auto add_own = [](Determined& of) {
      for (std::size_t i = 0; i < of.value.size(); ++i)
        of.spread[i] += kOwnRoundings / kAllowed * kSteps * kFp32 * (std::abs(of.value[i]) + 1e-2);
    };
    add_own(losses);
    add_own(norms);
    expect_determined("losses", got.losses, losses);
    expect_determined("gradient norms", got.norms, norms);
    for (auto& [name, values] : masters) {
      add_own(values);
      expect_determined(name, got.masters.at(name), values);
    }
  }
}

TEST(TrainingStep, TakesTheMemoryAndMakesTheCallsOfItsPlan) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16})
      for (const config::Numerics numerics : {config::fast, config::exact}) {
        Experiment experiment = noisy_experiment(family, 6);
        experiment.train.set_precision(precision);
        experiment.train.set_exact_groups(2);
        experiment.numerics = numerics;
        run_as_ranks(2, [&](LocalGroup& group, int rank) {
          const BatchPlan plan{.global_batch = 6, .micro_batch = 2, .dp = 2, .rank = rank};  // 3 samples: 2 and 1
          const StepPlan planned = plan_step(experiment, {.mesh = {.dp = 2}}, plan, rank);
          SmallRun run(group, experiment, plan);
          run.run(1, 1e-2);
          run.step().sample_losses(small_batch(experiment.model, {0, plan.micro_batch}));
          run.rank().context().device->synchronize(run.rank().context().compute);
          EXPECT_EQ(run.rank().context().arena->peak_bytes(), planned.arena_bytes);
          EXPECT_EQ(run.rank().context().arena->bytes_at_peak(), planned.bytes_at_peak);
          EXPECT_EQ(run.peers().calls(), planned.calls);
          EXPECT_FALSE(planned.calls.empty());
        });
      }
}

TEST(TrainingStep, NeverFollowsDeviceMemoryAndNeverNeedsTheTimingOfStreams) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16}) {
      Experiment experiment = noisy_experiment(family, 4);
      experiment.train.set_precision(precision);
      const BatchPlan plan{.global_batch = 4, .micro_batch = 1, .dp = 2};
      const History plain = train_together(experiment, plan, 2);
      for (std::uint64_t seed = 1; seed <= 3; ++seed)
        EXPECT_EQ(train_together(experiment, plan, 2,
                                 {.streams = StreamMode::kLazy, .shuffle_seed = 10 * seed, .guard_memory = true}),
                  plain);
    }
}

// Lazy streams run what is on them when somebody waits, long after the host put it there.
TEST(TrainingStep, TimesTheReductionOfGradientsOnTheStreamThatWaitsForIt) {
  const Experiment experiment = noisy_experiment(config::Model::llama, 4);
  for (const StreamMode mode : {StreamMode::kImmediate, StreamMode::kLazy}) {
    run_as_ranks(2, [&](LocalGroup& group, int rank) {
      SmallRun run(group, experiment, {.global_batch = 4, .micro_batch = 1, .dp = 2, .rank = rank}, {.streams = mode});
      const auto begin = std::chrono::steady_clock::now();
      const StepReport report = run.run(1, 1e-2);
      const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
      EXPECT_GT(report.exposed_seconds, 0);
      EXPECT_LT(report.exposed_seconds, all.count());
    });
  }
}

TEST(TrainingStep, InputAndWeightGradientsRunApartAreTheBitsOfTheFusedOnes) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16}) {
      Experiment experiment = noisy_experiment(family, 4);
      experiment.train.set_precision(precision);
      const BatchPlan plan{.global_batch = 4, .micro_batch = 2};
      const auto trained = [&](const char* schedule) {
        LocalGroup group(1);
        SmallRun run(group, experiment, plan, {}, 3);
        History history;
        for (int step = 1; step <= 2; ++step)
          history.losses.push_back(run.run(step, 1e-2, parse_schedule(schedule)).loss);
        history.masters = run.masters();
        return history;
      };
      const History fused = trained("0F0 0B0 0W0 0F1 0B1 0W1");
      EXPECT_EQ(trained("0F0 0F1 0B0 0B1 0W0 0W1"), fused);
      EXPECT_EQ(trained("0F0 0B0 0F1 0W0 0B1 0W1"), fused);
    }
}

// Losses and gradients are sums over samples, so accumulation may not show beyond rounding.
TEST(TrainingStep, AccumulationOverAnyMicroBatchesGivesTheSameLosses) {
  for (const config::Model::Family family : kFamilies) {
    const Experiment experiment = noisy_experiment(family, 6);
    const History whole = train_alone(experiment, {.global_batch = 6, .micro_batch = 6}, 3);
    for (const std::int64_t micro_batch : {1, 4}) {
      const History parts = train_alone(experiment, {.global_batch = 6, .micro_batch = micro_batch}, 3);
      for (std::size_t i = 0; i < whole.losses.size(); ++i)
        EXPECT_NEAR(parts.losses[i] / whole.losses[i], 1, 1e-5) << "step " << i + 1;
    }
  }
}

TEST(TrainingStep, AGradientThatIsNotFiniteSkipsTheStepOnAllRanksAndNamesItsRank) {
  const Experiment experiment = noisy_experiment(config::Model::gpt2, 4);
  run_as_ranks(2, [&](LocalGroup& group, int rank) {
    const BatchPlan plan{.global_batch = 4, .micro_batch = 1, .dp = 2, .rank = rank};
    SmallRun run(group, experiment, plan);
    run.run(1, 1e-2);
    const oracle::Tensors before = run.masters();
    // Only the gradient of the last norm's weight sees what its bias holds on rank 1.
    oracle::Tensors broken = before;
    if (rank == 1) broken.at("final_norm.bias")[3] = std::numeric_limits<double>::infinity();
    run.set_weights(broken);
    const StepReport report = run.run(2, 1e-2);
    EXPECT_TRUE(report.skipped);
    EXPECT_EQ(report.progress.applied_updates, 1);
    EXPECT_THAT(report.nonfinite, testing::StartsWith("rank 1: "));
    run.set_weights(before);
    const StepReport next = run.run(3, 1e-2);
    EXPECT_FALSE(next.skipped);
    EXPECT_EQ(next.nonfinite, "");
    EXPECT_EQ(next.progress.applied_updates, 2);
  });
}

TEST(TrainingStep, ASkippedStepLeavesEveryWeightAsItWas) {
  const Experiment experiment = noisy_experiment(config::Model::llama, 2);
  LocalGroup group(1);
  SmallRun run(group, experiment, {.global_batch = 2, .micro_batch = 1});
  oracle::Tensors weights = run.masters();
  weights.at("final_norm.weight")[0] = std::numeric_limits<double>::infinity();
  run.set_weights(weights);
  EXPECT_TRUE(run.run(1, 1e-2).skipped);
  EXPECT_EQ(run.masters(), weights);
}

TEST(LocalExact, AnyRanksAndMicroBatchesGiveTheSameBits) {
  for (const config::Model::Family family : kFamilies)
    for (const config::Precision precision : {config::fp32, config::bf16}) {
      Experiment experiment = noisy_experiment(family, 8);
      experiment.train.set_precision(precision);
      experiment.train.set_exact_groups(4);
      experiment.numerics = config::exact;
      const History one = train_alone(experiment, {.global_batch = 8, .micro_batch = 8}, 3);
      EXPECT_LT(one.losses.back(), one.losses.front() + 1);
      for (const std::int64_t micro_batch : {1, 3})
        EXPECT_EQ(train_alone(experiment, {.global_batch = 8, .micro_batch = micro_batch}, 3), one);
      for (const std::int64_t micro_batch : {1, 4})
        EXPECT_EQ(train_together(experiment, {.global_batch = 8, .micro_batch = micro_batch, .dp = 2}, 3), one);
      for (const std::int64_t micro_batch : {1, 2})
        EXPECT_EQ(train_together(experiment, {.global_batch = 8, .micro_batch = micro_batch, .dp = 4}, 3), one);
#ifndef __SANITIZE_THREAD__  // it does not see where libgomp's threads fork and join
      EXPECT_EQ(train_alone(experiment, {.global_batch = 8, .micro_batch = 4}, 3, {.threads = 3}), one);
#endif
      EXPECT_EQ(train_together(experiment, {.global_batch = 8, .micro_batch = 1, .dp = 2}, 3,
                               {.streams = StreamMode::kLazy, .shuffle_seed = 3}),
                one);
    }
}

TEST(LocalFast, LossesOfTwoThreeAndFourRanksAreWithinTheBoundOfOnes) {
  for (const config::Model::Family family : kFamilies) {
    Experiment experiment = small_experiment(small_model(family, family == config::Model::gpt2), 12);
    const History one = train_alone(experiment, {.global_batch = 12, .micro_batch = 4}, 20);
    for (const std::int64_t dp : {2, 3, 4}) {
      const History many = train_together(experiment, {.global_batch = 12, .micro_batch = 2, .dp = dp}, 20);
      for (std::size_t i = 0; i < one.losses.size(); ++i)
        EXPECT_NEAR(many.losses[i] / one.losses[i], 1, 1e-5) << dp << " ranks, step " << i + 1;
    }
  }
}

}  // namespace
}  // namespace trireme
