#include "trainer/model/transformer.h"

#include <gtest/gtest.h>

#include "tests/trainer/determined.h"
#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

// Unit roundoffs. Below 6e-5 fp16 has less than its 11 bits; the loss scale keeps what matters above that.
constexpr double kFp32 = 0x1p-24, kBf16 = 0x1p-8, kFp16 = 0x1p-11;

double unit_of(config::Precision precision) {
  return precision == config::bf16 ? kBf16 : precision == config::fp16 ? kFp16 : kFp32;
}

struct Circumstances {
  const char* name;
  config::Model::Family family;
  bool tied;
  config::Precision precision;
  config::Numerics numerics;
  std::int64_t micro_batch;
};
constexpr Circumstances kCircumstances[] = {
    {"Gpt2", config::Model::gpt2, true, config::fp32, config::fast, 2},
    {"Gpt2Exact", config::Model::gpt2, true, config::fp32, config::exact, 3},
    {"Gpt2Bf16", config::Model::gpt2, true, config::bf16, config::fast, 4},
    {"Llama", config::Model::llama, false, config::fp32, config::fast, 3},
    {"LlamaTiedExact", config::Model::llama, true, config::fp32, config::exact, 1},
    {"LlamaBf16Exact", config::Model::llama, false, config::bf16, config::exact, 2},
    {"Gpt2Fp16", config::Model::gpt2, true, config::fp16, config::fast, 4},
    {"LlamaFp16Exact", config::Model::llama, false, config::fp16, config::exact, 2},
};

// Of the gradients' size: what the norm may be off by, and what the spread may be.
struct MostOff {
  double norm, spread;
};
MostOff most_off(config::Precision precision) {
  return precision == config::fp32 ? MostOff{1e-5, 1e-5}
                                   : MostOff{2e-2 * unit_of(precision) / kBf16, 0.1 * unit_of(precision) / kBf16};
}

class WholeModel : public testing::TestWithParam<Circumstances> {
 protected:
  using Rounding = oracle::Rounding;

  WholeModel() {
    const Circumstances& now = GetParam();
    experiment = small_experiment(small_model(now.family, now.tied), 4);
    experiment.train.set_precision(now.precision);
    experiment.numerics = now.numerics;
    experiment.train.set_exact_groups(2);
    experiment.loss_scale.set_initial(4096);
    make_noisy(experiment);
    plan = {.global_batch = 4, .micro_batch = now.micro_batch};
  }
  Rounding rounding(int run) const {
    const double unit = unit_of(GetParam().precision);
    return {kFp32, unit == kFp32 ? 0 : unit, static_cast<std::uint64_t>(run)};
  }

  Experiment experiment;
  BatchPlan plan;
};

// Loss masks uneven over micro-batches, packed documents, dropout, label smoothing and z-loss are all in the batch.
TEST_P(WholeModel, LossAndEveryGradientAreTheOraclesAsFarAsRoundingDeterminesThem) {
  LocalGroup group(1);
  SmallRun run(group, experiment, plan);
  run.set_weights(random_parameters(run.step().list(), 0.25));
  const oracle::Tensors weights = run.weights();  // as rounded
  const StepReport report = run.run(1, 0);
  EXPECT_FALSE(report.skipped);

  const std::vector<oracle::Token> tokens = tokens_of(small_batch(experiment.model, plan.step_range(0)));
  const auto outcome = [&](const Rounding& how) {
    return oracle::run(decoder_of(experiment), weights, tokens, experiment.seed, oracle::Mode::kTraining, how);
  };
  const oracle::Outcome exact = outcome({});
  Determined loss;
  std::map<std::string, Determined> gradients;
  loss.set({exact.loss});
  for (const auto& [name, values] : exact.gradients) gradients[name].set(values);
  for (int i = 1; i <= kRuns; ++i) {
    const oracle::Outcome rounded = outcome(rounding(i));
    loss.widen({rounded.loss});
    for (auto& [name, values] : gradients) values.widen(rounded.gradients.at(name));
  }

  EXPECT_NEAR(report.loss, exact.loss, kAllowed * loss.spread[0] + 4 * kFp32 * exact.loss);
  std::vector<double> all, spread;
  for (const auto& [name, got] : run.gradients()) {
    expect_determined(name, got, gradients.at(name));
    all.insert(all.end(), gradients.at(name).value.begin(), gradients.at(name).value.end());
    spread.insert(spread.end(), gradients.at(name).spread.begin(), gradients.at(name).spread.end());
  }
  EXPECT_NEAR(report.grad_norm / (root_mean_square(all) * std::sqrt(static_cast<double>(all.size()))), 1,
              most_off(GetParam().precision).norm);
  // The bound says something: it is a small part of the gradients.
  EXPECT_LT(root_mean_square(spread), most_off(GetParam().precision).spread * root_mean_square(all));
}

TEST_P(WholeModel, SampleLossesAreTheOraclesWithoutDropoutOrSmoothing) {
  LocalGroup group(1);
  SmallRun run(group, experiment, plan);
  run.set_weights(random_parameters(run.step().list(), 0.25));
  const Batch batch = small_batch(experiment.model, {0, plan.micro_batch});
  const std::vector<double> losses = run.rank().read(run.step().sample_losses(batch));

  const auto outcome = [&](const Rounding& how) {
    return oracle::run(decoder_of(experiment), run.weights(), tokens_of(batch), 0, oracle::Mode::kEvaluation, how);
  };
  Determined want;
  want.set(outcome({}).sample_losses);
  for (int i = 1; i <= kRuns; ++i) want.widen(outcome(rounding(i)).sample_losses);
  expect_determined("sample losses", losses, want);
}

INSTANTIATE_TEST_SUITE_P(Families, WholeModel, testing::ValuesIn(kCircumstances),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(FlopsPerToken, AreSixPerWeightOfAGemmAndSixLayersWidthLengthForCausalAttention) {
  const config::Model gpt2 = small_model(config::Model::gpt2, true);
  const double gemm = 2 * (24 * 24 * 4 + 2 * 24 * 40) + 24 * 37;
  EXPECT_EQ(flops_per_token(gpt2), 6 * gemm + 6.0 * 2 * 24 * 9);
  const config::Model llama = small_model(config::Model::llama, false);
  const double llama_gemm = 2 * (24 * 24 * 2 + 24 * 16 + 3 * 24 * 40) + 24 * 37;
  EXPECT_EQ(flops_per_token(llama), 6 * llama_gemm + 6.0 * 2 * 24 * 9);
}

}  // namespace
}  // namespace trireme
