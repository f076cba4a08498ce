// fp16 with a loss scale that moves: a step that overflows must change nothing but the scale, and nothing of it may
// depend on the layout.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

constexpr config::Model::Family kFamilies[] = {config::Model::gpt2, config::Model::llama};

Experiment fp16_experiment(config::Model::Family family, double initial, std::int64_t interval) {
  config::Model model = small_model(family, family == config::Model::gpt2);
  model.set_layers(3);
  Experiment experiment = small_experiment(model, 8);
  make_noisy(experiment);
  experiment.train.set_precision(config::fp16);
  experiment.train.set_exact_groups(4);
  experiment.numerics = config::exact;
  experiment.loss_scale.set_initial(initial);
  experiment.loss_scale.set_growth_interval(interval);
  return experiment;
}

// A scale of which the first gradient of every logit overflows, whatever the model does.
constexpr double kTooLarge = 0x1p30;

struct Step {
  double loss = 0, norm = 0;  // no norm of a step that was skipped
  bool skipped = false;
  OptimizerProgress progress{};

  bool operator==(const Step& other) const {
    return loss == other.loss && norm == other.norm && skipped == other.skipped &&
           progress.applied_updates == other.progress.applied_updates &&
           progress.loss_scale == other.progress.loss_scale && progress.good_steps == other.progress.good_steps;
  }
};
Step step(SmallRun& run, int number) {
  const StepReport report = run.run(number, 1e-2);
  return {report.loss, report.skipped ? 0 : report.grad_norm, report.skipped, report.progress};
}

struct History {
  std::vector<Step> steps;
  oracle::Tensors masters, weights;
  bool operator==(const History&) const = default;
};

History train(const Experiment& experiment, const Layout& layout, std::int64_t micro_batch, int steps,
              const HostOptions& options = {}) {
  std::vector<History> histories(static_cast<std::size_t>(layout.mesh.ranks()));
  run_as_ranks(layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
    HostOptions how = options;
    how.shuffle_seed += static_cast<std::uint64_t>(rank);
    SmallRun run(group, rank, experiment, layout,
                 {.global_batch = experiment.train.global_batch(), .micro_batch = micro_batch}, how);
    History& mine = histories[static_cast<std::size_t>(rank)];
    for (int number = 1; number <= steps; ++number) mine.steps.push_back(step(run, number));
    mine.masters = run.masters();
    mine.weights = run.weights();
  });
  for (const History& other : histories) EXPECT_TRUE(other == histories[0]) << "ranks differ";
  return histories[0];
}

TEST(LossScale, AnOverflowHalvesItSkipsTheStepAndLosesNothing) {
  for (const config::Model::Family family : kFamilies) {
    const Experiment experiment = fp16_experiment(family, kTooLarge, 100);
    LocalGroup group(1);
    SmallRun run(group, experiment, {.global_batch = 8, .micro_batch = 3});
    const oracle::Tensors initial = run.masters();
    double scale = kTooLarge, loss = 0;
    int skipped = 0;
    for (Step now = step(run, 1); now.skipped; now = step(run, 1)) {
      ++skipped;
      scale /= 2;
      EXPECT_EQ(now.progress.loss_scale, scale);
      EXPECT_EQ(now.progress.applied_updates, 0);
      EXPECT_EQ(now.progress.good_steps, 0);
      EXPECT_EQ(run.masters(), initial);
      if (loss != 0) {
        EXPECT_EQ(now.loss, loss);  // it knows of no scale
      }
      loss = now.loss;
      ASSERT_LT(skipped, 40);
    }
    EXPECT_GT(skipped, 3);
    EXPECT_EQ(run.progress().applied_updates, 1);
    EXPECT_EQ(run.progress().good_steps, 1);
    const oracle::Tensors after = run.masters();
    EXPECT_NE(after, initial);

    // As if it had begun with the scale that it found.
    LocalGroup alone(1);
    SmallRun fresh(alone, fp16_experiment(family, scale, 100), {.global_batch = 8, .micro_batch = 3});
    EXPECT_FALSE(step(fresh, 1).skipped);
    EXPECT_EQ(fresh.masters(), after);
  }
}

TEST(LossScale, NamesTheOverflow) {
  LocalGroup group(1);
  SmallRun run(group, fp16_experiment(config::Model::llama, kTooLarge, 100), {.global_batch = 8, .micro_batch = 8});
  EXPECT_THAT(run.run(1, 1e-2).nonfinite, testing::StartsWith("rank 0: "));
}

TEST(LossScale, NeverFallsBelowItsLeast) {
  Experiment experiment = fp16_experiment(config::Model::gpt2, kTooLarge, 100);
  experiment.loss_scale.set_min(kTooLarge / 2);
  LocalGroup group(1);
  SmallRun run(group, experiment, {.global_batch = 8, .micro_batch = 8});
  for (int number = 1; number <= 3; ++number) EXPECT_EQ(step(run, number).progress.loss_scale, kTooLarge / 2);
}

TEST(LossScale, GrowsAfterSoManyStepsThatWereNotSkippedInARow) {
  const Experiment experiment = fp16_experiment(config::Model::llama, 16, 2);
  LocalGroup group(1);
  SmallRun run(group, experiment, {.global_batch = 8, .micro_batch = 4});
  const std::vector<double> want = {16, 32, 32, 64, 64};
  for (int number = 1; number <= 5; ++number) {
    const Step now = step(run, number);
    EXPECT_EQ(now.progress.loss_scale, want[static_cast<std::size_t>(number - 1)]);
    EXPECT_EQ(now.progress.good_steps, number % 2);
    EXPECT_EQ(now.progress.applied_updates, number);
  }
}

TEST(LossScale, OtherPrecisionsKeepItAtOne) {
  for (const config::Precision precision : {config::fp32, config::bf16}) {
    Experiment experiment = fp16_experiment(config::Model::gpt2, kTooLarge, 1);
    experiment.train.set_precision(precision);
    LocalGroup group(1);
    SmallRun run(group, experiment, {.global_batch = 8, .micro_batch = 8});
    for (int number = 1; number <= 2; ++number) {
      const Step now = step(run, number);
      EXPECT_FALSE(now.skipped);
      EXPECT_EQ(now.progress.loss_scale, 1);
    }
  }
}

// The scale begins too large, and grows after every second step: the runs skip, find their scale and overflow again.
TEST(LocalLossScale, MovesAndTrainsToTheSameBitsOnAnyLayout) {
  const auto layout = [](int dp, int pp, int zero_stage) {
    return Layout{.mesh = {.dp = dp, .pp = pp}, .zero_stage = zero_stage};
  };
  for (const config::Model::Family family : kFamilies) {
    const Experiment experiment = fp16_experiment(family, 0x1p20, 2);
    constexpr int kSteps = 14;
    const History one = train(experiment, {}, 8, kSteps);
    const auto skipped = std::count_if(one.steps.begin(), one.steps.end(), [](const Step& at) { return at.skipped; });
    EXPECT_GE(skipped, 2);
    EXPECT_GE(one.steps.back().progress.applied_updates, 4);
    for (const auto& [how, micro_batch] :
         {std::pair(layout(1, 1, 0), 3), std::pair(layout(2, 1, 0), 4), std::pair(layout(4, 1, 1), 1),
          std::pair(layout(2, 1, 3), 2), std::pair(layout(1, 3, 0), 2), std::pair(layout(2, 2, 2), 1)})
      EXPECT_TRUE(train(experiment, how, micro_batch, kSteps) == one)
          << to_string(how.mesh) << ", ZeRO " << how.zero_stage << ", micro-batch " << micro_batch;
    EXPECT_TRUE(train(experiment, layout(2, 1, 0), 4, kSteps,
                      {.streams = StreamMode::kLazy, .shuffle_seed = 4, .guard_memory = true}) == one);
  }
}

// Tensor parallelism has no bits; but its ranks must find the same overflow, and go on from the same scale.
TEST(LocalLossScale, RanksOfTensorParallelismAgreeOnIt) {
  const Experiment experiment = fp16_experiment(config::Model::gpt2, kTooLarge, 3);
  const History many = train(experiment, {.mesh = {.dp = 2, .tp = 3}}, 2, 20);
  EXPECT_TRUE(many.steps.front().skipped);
  EXPECT_GT(many.steps.back().progress.applied_updates, 2);
}

// A power of two scales gradients, norm and clipping without rounding, as long as fp32 can hold them.
TEST(LossScale, AsAPowerOfTwoChangesNoBitOfTheUpdate) {
  const std::unique_ptr<Device> device = make_host_device({.threads = 1});
  const Stream stream = device->create_stream(StreamKind::kCompute, "test");
  constexpr std::int64_t kCount = 3000;
  struct Outcome {
    std::vector<float> master, first, second;
    float norm = 0, clip = 0;
    bool operator==(const Outcome&) const = default;
  };
  const auto update = [&](float scale) {
    Outcome out;
    std::vector<std::byte*> blocks;
    const auto tensor = [&](DType dtype, std::int64_t count) {
      const Tensor made{device->allocate(static_cast<std::size_t>(count) * bytes_of(dtype)), dtype, {count}};
      blocks.push_back(made.data);
      host_kernels().fill(stream, made, 0);
      return made;
    };
    std::vector<float> values(kCount);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = std::sin(static_cast<float>(i)) * std::exp2(static_cast<float>(i % 40) - 30) * scale;
    const Tensor gradient = tensor(DType::kF32, kCount), master = tensor(DType::kF32, kCount);
    const Tensor first = tensor(DType::kF32, kCount), second = tensor(DType::kF32, kCount);
    const Tensor sums = tensor(DType::kF32, (kCount + 1023) / 1024);
    const StepControl control{.norm = tensor(DType::kF32, 1),
                              .clip = tensor(DType::kF32, 1),
                              .factor = tensor(DType::kF32, 1),
                              .skip = tensor(DType::kI32, 1),
                              .applied = tensor(DType::kI64, 1),
                              .scale = tensor(DType::kF32, 1),
                              .good = tensor(DType::kI64, 1)};
    device->upload(stream, gradient, values.data());
    device->upload(stream, control.scale, &scale);
    host_kernels().square_sums(stream, sums, {{gradient}});
    host_kernels().decide_step(stream, control, sums, 1, {.growth = 2, .backoff = 0.5f, .least = 1, .interval = 1});
    host_kernels().adamw(stream, {{master}}, {{master}}, {{first}}, {{second}}, {{gradient}}, control,
                         {.learning_rate = 1e-2f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0});
    const auto read = [&](const Tensor& from) {
      std::vector<float> values_of(static_cast<std::size_t>(from.elements()));
      device->download(stream, values_of.data(), from);
      device->synchronize(stream);
      return values_of;
    };
    out = {read(master), read(first), read(second), read(control.norm)[0], read(control.clip)[0]};
    for (std::byte* block : blocks) device->release(block);
    return out;
  };
  const Outcome plain = update(1);
  EXPECT_LT(plain.clip, 1);
  for (const int power : {-3, 1, 8, 16, 24, 40}) EXPECT_TRUE(update(std::exp2(static_cast<float>(power))) == plain);
  device->destroy_stream(stream);
}

// Trained in fp16, losses follow those of fp32. A loss is a mean of token losses, each a function of activations that
// are rounded to u = 2^-11 a few dozen times on their way; over a few steps of the same data the weights, too, differ
// by what such roundings do to gradients. bf16, with 8 times the unit roundoff, bounds what that may come to: fp16 must
// be closer to fp32 than an eighth of the worst that bf16 is, and a factor of 4 is left for luck.
TEST(LossScale, TrainingInFp16FollowsFp32CloserThanBf16Does) {
  for (const config::Model::Family family : kFamilies) {
    constexpr int kSteps = 30;
    const auto losses = [&](config::Precision precision) {
      Experiment experiment = fp16_experiment(family, 1024, 10);
      experiment.train.set_precision(precision);
      std::vector<double> all;
      for (const Step& at : train(experiment, {}, 8, kSteps).steps) {
        EXPECT_FALSE(at.skipped);
        all.push_back(at.loss);
      }
      return all;
    };
    const std::vector<double> exact = losses(config::fp32), bf16 = losses(config::bf16), fp16 = losses(config::fp16);
    double off_bf16 = 0, off_fp16 = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      off_bf16 = std::max(off_bf16, std::abs(bf16[i] / exact[i] - 1));
      off_fp16 = std::max(off_fp16, std::abs(fp16[i] / exact[i] - 1));
    }
    EXPECT_LT(off_bf16, 64 * 0x1p-8);
    EXPECT_LT(off_fp16, off_bf16 / 8 * 4);
  }
}

}  // namespace
}  // namespace trireme
