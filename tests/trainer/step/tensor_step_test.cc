// A step under tensor parallelism against the same step on one rank: every parameter's gradient, the loss, the norm,
// the weights after it and the losses of an evaluation. Ranks are threads. The bound of a gradient is c u sum|what each
// token gives to it|, from the fp64 model (tests/trainer/oracle); u is the unit roundoff of the activations.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include <gtest/gtest.h>

#include "tests/trainer/small_run.h"

namespace trireme {
namespace {

constexpr double kRate = 1e-2;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Case {
  const char* name;
  config::Model::Family family;
  MeshShape mesh;
  int heads, kv_heads;
  bool tied = true;
  std::int64_t micro_batch = 1;
  config::Precision precision = config::fp32;
  config::Numerics numerics = config::fast;
  config::Recompute recompute = config::none;
  double dropout = 0.2, attention_dropout = 0.3, label_smoothing = 0.1, z_loss = 1e-2;
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

// 9 rows a sample, ffn 41 and vocabulary 37: nothing divides by 2, 3 or 4 but the heads. A global batch of 4 samples.
Experiment experiment_of(const Case& which) {
  config::Model model = small_model(which.family, which.tied);
  model.set_heads(which.heads);
  model.set_kv_heads(which.kv_heads);
  model.set_head_dim(which.family == config::Model::gpt2 ? 24 / which.heads : 8);
  model.set_ffn_size(41);
  model.set_dropout(which.dropout);
  model.set_attention_dropout(which.attention_dropout);
  Experiment experiment = small_experiment(model, 4);
  experiment.train.set_label_smoothing(which.label_smoothing);
  experiment.train.set_z_loss(which.z_loss);
  experiment.train.set_precision(which.precision);
  experiment.train.set_exact_groups(2);
  experiment.optimizer.set_clip_norm(0.5);
  experiment.numerics = which.numerics;
  return experiment;
}

struct Outcome {
  double loss = 0, norm = 0;
  oracle::Tensors gradients, weights;  // whole ones
  std::vector<double> sample_losses;
};

// What ranks hold, put together: every element is held by somebody, and who holds the same holds the same bits.
class Assembly {
 public:
  void add(const ParamSpec& spec, const Box& box, const std::vector<double>& values, oracle::Tensors& into) {
    const std::lock_guard lock(mutex_);
    std::vector<double>& all = into[spec.name];
    all.resize(static_cast<std::size_t>(spec.shape.elements()), kNaN);
    int differ = 0;
    for_each_run(spec.shape, box, [&](BoxRun run) {
      for (std::int64_t i = 0; i < run.count; ++i) {
        double& element = all[static_cast<std::size_t>(run.global + i)];
        const double value = values[static_cast<std::size_t>(run.local + i)];
        differ += !std::isnan(element) && element != value;
        element = value;
      }
    });
    EXPECT_EQ(differ, 0) << "elements of " << spec.name << " differ between ranks that hold them";
  }

 private:
  std::mutex mutex_;
};

// Step 1 from `weights`, and before it the losses of the first two samples.
Outcome step_on(const MeshShape& mesh, const Case& which, const oracle::Tensors& weights,
                const HostOptions& options = {}) {
  const Experiment experiment = experiment_of(which);
  Outcome outcome;
  Assembly assembly;
  std::vector<StepReport> reports(static_cast<std::size_t>(mesh.ranks()));
  std::vector<std::vector<double>> losses(reports.size());
  run_as_ranks(mesh.ranks(), [&](LocalGroup& group, int rank) {
    HostOptions how = options;
    how.shuffle_seed += static_cast<std::uint64_t>(rank);
    SmallRun run(group, rank, experiment, {.mesh = mesh, .recompute = which.recompute},
                 {.global_batch = 4, .micro_batch = which.micro_batch}, how);
    run.set_weights(weights);
    const auto me = static_cast<std::size_t>(rank);
    losses[me] = run.rank().read(run.step().sample_losses(small_batch(experiment.model, {0, which.micro_batch})));
    reports[me] = run.run(1, kRate);
    for (const HeldTensor& held : run.step().held_gradients())
      assembly.add(*held.spec, held.box, run.rank().read(held.tensor), outcome.gradients);
    for (const HeldTensor& held : run.step().held_masters())
      assembly.add(*held.spec, held.box, run.rank().read(held.tensor), outcome.weights);
  });
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    EXPECT_EQ(reports[rank].loss, reports[0].loss) << "rank " << rank;
    EXPECT_EQ(reports[rank].grad_norm, reports[0].grad_norm) << "rank " << rank;
    EXPECT_EQ(losses[rank], losses[0]) << "rank " << rank;
    EXPECT_FALSE(reports[rank].skipped);
  }
  outcome.loss = reports[0].loss;
  outcome.norm = reports[0].grad_norm;
  outcome.sample_losses = losses[0];
  return outcome;
}

// Deviating enough that no parameter is what another layout would have by accident: biases are not zero, norms not one.
oracle::Tensors weights_of(const Case& which) {
  ParamList list;
  const Experiment experiment = experiment_of(which);
  make_stage(experiment.model, {}, whole_model(experiment.model), list);
  return random_parameters(list, 0.25);
}

// Of each element of each gradient, the sum over tokens of |what the token gives to it|. A row of an embedding may
// belong to one token alone; what it gives is then itself a sum over features that may cancel in any one column, so
// there the row's largest stands for all of it.
oracle::Tensors token_terms(const Case& which, const oracle::Tensors& weights) {
  const Experiment experiment = experiment_of(which);
  oracle::Tensors terms = oracle::run(decoder_of(experiment), weights, tokens_of(small_batch(experiment.model, {0, 4})),
                                      experiment.seed, oracle::Mode::kTraining)
                              .terms;
  for (auto& [name, values] : terms)
    if (name.starts_with("embedding"))
      for (auto row = values.begin(); row != values.end(); row += experiment.model.hidden_size())
        std::fill_n(row, experiment.model.hidden_size(), *std::max_element(row, row + experiment.model.hidden_size()));
  return terms;
}

// Both the layout and the one rank round, by bounds of their own kind.
double allowed(const Case& which) { return which.precision == config::bf16 ? 16 * 0x1p-8 : 2048 * 0x1p-24; }

void expect_the_step_of_one_rank(const Case& which, const HostOptions& options = {}) {
  const oracle::Tensors weights = weights_of(which);
  const oracle::Tensors terms = token_terms(which, weights);
  const Outcome one = step_on({}, which, weights);
  const Outcome many = step_on(which.mesh, which, weights, options);
  const double most = allowed(which);

  EXPECT_NEAR(many.loss, one.loss, most * one.loss);
  ASSERT_EQ(many.sample_losses.size(), one.sample_losses.size());
  for (std::size_t s = 0; s < one.sample_losses.size(); ++s)
    EXPECT_NEAR(many.sample_losses[s], one.sample_losses[s], most * one.sample_losses[s]);
  double squares = 0, worst = 0;
  std::string where;
  ASSERT_EQ(many.gradients.size(), one.gradients.size());
  for (const auto& [name, values] : one.gradients) {
    const std::vector<double>& got = many.gradients.at(name);
    const std::vector<double>& bound = terms.at(name);
    ASSERT_EQ(got.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      squares += bound[i] * bound[i];
      const double off = std::abs(got[i] - values[i]);
      const double ratio = off == 0 ? 0 : off / (most * bound[i]);
      if (!(ratio <= worst)) {
        worst = ratio;
        where = name + "[" + std::to_string(i) + "]: " + std::to_string(got[i]) + ", not " + std::to_string(values[i]);
      }
      // An update is lr g / (|g| + epsilon) of the clipped gradient, whose slope is at most lr / epsilon; and rounding.
      EXPECT_NEAR(many.weights.at(name)[i], one.weights.at(name)[i], kRate / 1e-4 * most * bound[i] + 1e-6) << name;
    }
  }
  EXPECT_LE(worst, 1) << where;
  EXPECT_NEAR(many.norm, one.norm, most * std::sqrt(squares));
  testing::Test::RecordProperty("worst_of_bound", std::to_string(worst));
}

constexpr auto kGpt2 = config::Model::gpt2;
constexpr auto kLlama = config::Model::llama;

// Named after what would go wrong.
const Case kCases[] = {
    {.name = "gpt2_tp2", .family = kGpt2, .mesh = {.tp = 2}, .heads = 4, .kv_heads = 4},
    {.name = "gpt2_tp3_untied", .family = kGpt2, .mesh = {.tp = 3}, .heads = 3, .kv_heads = 3, .tied = false},
    {.name = "gpt2_tp4_micro_batches_of_3",
     .family = kGpt2,
     .mesh = {.tp = 4},
     .heads = 4,
     .kv_heads = 4,
     .micro_batch = 3},
    {.name = "gpt2_dp2_tp2", .family = kGpt2, .mesh = {.dp = 2, .tp = 2}, .heads = 4, .kv_heads = 4, .micro_batch = 2},
    {.name = "gpt2_tp2_bf16", .family = kGpt2, .mesh = {.tp = 2}, .heads = 4, .kv_heads = 4, .precision = config::bf16},
    {.name = "gpt2_tp2_exact",
     .family = kGpt2,
     .mesh = {.dp = 2, .tp = 2},
     .heads = 4,
     .kv_heads = 4,
     .micro_batch = 2,
     .numerics = config::exact},
    {.name = "llama_tp2", .family = kLlama, .mesh = {.tp = 2}, .heads = 4, .kv_heads = 2, .tied = false},
    {.name = "llama_tp3_one_kv_head_tied", .family = kLlama, .mesh = {.tp = 3}, .heads = 3, .kv_heads = 1},
    {.name = "llama_tp4_two_kv_heads", .family = kLlama, .mesh = {.tp = 4}, .heads = 4, .kv_heads = 2, .tied = false},
    {.name = "llama_dp2_tp4_bf16",
     .family = kLlama,
     .mesh = {.dp = 2, .tp = 4},
     .heads = 8,
     .kv_heads = 2,
     .tied = false,
     .micro_batch = 2,
     .precision = config::bf16},
    {.name = "llama_dp2_tp2_exact",
     .family = kLlama,
     .mesh = {.dp = 2, .tp = 2},
     .heads = 4,
     .kv_heads = 1,
     .tied = false,
     .numerics = config::exact},
    {.name = "llama_pp2_tp2_recompute",
     .family = kLlama,
     .mesh = {.pp = 2, .tp = 2},
     .heads = 4,
     .kv_heads = 2,
     .tied = false,
     .recompute = config::full},
    {.name = "gpt2_pp2_tp2_recompute_attention",
     .family = kGpt2,
     .mesh = {.pp = 2, .tp = 2},
     .heads = 4,
     .kv_heads = 4,
     .tied = false,
     .micro_batch = 3,
     .recompute = config::selective},
};

class TensorStep : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Layouts, TensorStep, testing::ValuesIn(kCases),
                         [](const auto& one) { return one.param.name; });

TEST_P(TensorStep, GivesEveryGradientLossNormAndWeightOfOneRank) { expect_the_step_of_one_rank(GetParam()); }

TEST_P(TensorStep, TakesTheMemoryAndMakesTheCallsOfItsPlanOnEveryRank) {
  const Case& which = GetParam();
  const Experiment experiment = experiment_of(which);
  run_as_ranks(which.mesh.ranks(), [&](LocalGroup& group, int rank) {
    const BatchPlan plan{.global_batch = 4, .micro_batch = which.micro_batch};
    const Layout layout{.mesh = which.mesh, .recompute = which.recompute};
    const StepPlan planned = plan_step(experiment, layout, plan, rank);
    SmallRun run(group, rank, experiment, layout, plan);
    run.run(1, kRate);
    run.step().sample_losses(small_batch(experiment.model, {0, which.micro_batch}));
    run.rank().context().device->synchronize(run.rank().context().compute);
    EXPECT_EQ(run.rank().context().arena->peak_bytes(), planned.arena_bytes);
    EXPECT_EQ(run.rank().context().arena->bytes_at_peak(), planned.bytes_at_peak);
    EXPECT_EQ(run.peers().calls(), planned.calls);
    for (const RecordedCall& call : planned.calls) {
      EXPECT_FALSE(call.tensor.empty()) << call.op;
      EXPECT_TRUE(call.group != "tp" || call.step == 1 || call.step == -1) << call.tensor;
    }
  });
}

// One feature at a time, so that the test that fails names the mistake.
Case plain(const char* name, config::Model::Family family, int tp, int heads, int kv_heads) {
  return {.name = name,
          .family = family,
          .mesh = {.tp = tp},
          .heads = heads,
          .kv_heads = kv_heads,
          .tied = false,
          .dropout = 0,
          .attention_dropout = 0,
          .label_smoothing = 0,
          .z_loss = 0};
}

TEST(TensorStepMistakes, GradientsOfNormsAndBiasesAreAddedOverTheRowsOfAllRanks) {
  expect_the_step_of_one_rank(plain("norms and biases", kGpt2, 2, 4, 4));
}

TEST(TensorStepMistakes, GradientsOfSharedHeadsOfKeysAndValuesAreAdded) {
  expect_the_step_of_one_rank(plain("shared heads", kLlama, 4, 4, 2));
}

TEST(TensorStepMistakes, LabelSmoothingSeesTheWholeVocabulary) {
  Case which = plain("smoothing", kLlama, 3, 3, 1);
  which.label_smoothing = 0.4;
  expect_the_step_of_one_rank(which);
}

TEST(TensorStepMistakes, ZLossSeesTheWholeVocabulary) {
  Case which = plain("z-loss", kLlama, 3, 3, 1);
  which.z_loss = 0.3;
  expect_the_step_of_one_rank(which);
}

TEST(TensorStepMistakes, HeadsDropWhatTheyWouldOnOneRank) {
  Case which = plain("attention dropout", kLlama, 2, 4, 1);
  which.attention_dropout = 0.5;
  expect_the_step_of_one_rank(which);
}

TEST(TensorStepMistakes, RowsDropWhatTheyWouldOnOneRank) {
  Case which = plain("dropout", kGpt2, 4, 4, 4);
  which.dropout = 0.5;
  expect_the_step_of_one_rank(which);
}

// Clipping at half the norm: a norm that counts what is whole more than once, or what is cut once only, clips
// otherwise.
TEST(TensorStepMistakes, TheNormCountsEveryElementOnce) {
  const Case which = plain("norm", kLlama, 4, 4, 2);
  const oracle::Tensors weights = weights_of(which);
  const Outcome many = step_on(which.mesh, which, weights);
  double squares = 0;
  for (const auto& [name, values] : many.gradients)
    for (const double one : values) squares += one * one;
  EXPECT_NEAR(many.norm, std::sqrt(squares), 0x1p-20 * std::sqrt(squares));
}

TEST(TensorStep, NeverFollowsDeviceMemoryAndNeverNeedsTheTimingOfStreams) {
  for (const std::uint64_t seed : {1, 2})
    expect_the_step_of_one_rank(kCases[8],
                                {.streams = StreamMode::kLazy, .shuffle_seed = 10 * seed, .guard_memory = true});
}

}  // namespace
}  // namespace trireme
