// Every layer's backward_input and backward_weight against central differences of its own forward, in fp32.
//
// The objective is L = sum dy y. Along a random direction v of the input or of one parameter, D(h) = (L(x + h v) -
// L(x - h v)) / 2h must be sum g v. Its error has two parts: truncation, of order h^2, which |D(h) - D(2h)| exceeds
// three times over; and rounding, at most c u sum|dy y| / h, where c = 64 covers the sums of the layer (fewer than 100
// terms in each of up to six in a row, whose roundings partly cancel).
#include <random>

#include <gtest/gtest.h>

#include "tests/trainer/small_model.h"
#include "tests/trainer/test_rank.h"
#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/head.h"

namespace trireme {
namespace {

constexpr double kStep = 0x1p-6, kC = 64, kUnit = 0x1p-24;
constexpr std::int64_t kHidden = 24;

struct Ends {
  ArenaTensor y, dx;  // y is not given where the objective is the loss; dx where there is no input
};

ArenaTensor copy_of(const Pass& pass, Tensor x) {
  ArenaTensor copy = pass.activation(x.shape);
  pass.ops().copy(pass.stream(), copy, x);
  return copy;
}

// What each case declares, and its three passes in turn.
struct LinearCase {
  Linear layer;
  explicit LinearCase(ParamList& list)
      : layer(list, "linear", {3, 5}, {2, 7}, Linear::Bias::kZeros, 0.3f, {0, Axis::kTp}) {}
  Shape input() const { return {2, 7}; }
  Ends run(const Pass& pass, Tensor x, Tensor dy) {
    Ends ends{layer.forward(pass, x), pass.activation(x.shape)};
    layer.backward_input(pass, ends.dx, dy);
    layer.backward_weight(pass, dy, x);
    return ends;
  }
};

template <class Norm>
struct NormCase {
  Norm layer;
  explicit NormCase(ParamList& list) : layer(list, "norm", kHidden, 1e-5f) {}
  Shape input() const { return {kHidden}; }
  Ends run(const Pass& pass, Tensor x, Tensor dy) {
    typename Norm::Saved saved;
    Ends ends;
    ends.y = layer.forward(pass, x, saved);
    ends.dx = layer.backward_input(pass, dy, {}, saved);
    layer.backward_weight(pass, saved);
    return ends;
  }
};

SelfAttention::Options attention_options(std::int64_t kv_heads, std::optional<double> rope_theta, Linear::Bias bias) {
  return {.hidden_size = kHidden,
          .heads = 3,
          .kv_heads = kv_heads,
          .head_dim = 8,
          .rope_theta = rope_theta,
          .bias = bias,
          .dropout = 0.3f,
          .init_std = 0.2f,
          .out_init_std = 0.2f};
}
const SelfAttention::Options kRotary = attention_options(1, 100.0, Linear::Bias::kNone);
const SelfAttention::Options kBiased = attention_options(3, {}, Linear::Bias::kZeros);

// SelfAttention and the two feed-forward halves: layers with a residual.
template <class Layer>
struct BranchCase {
  Layer layer;
  Shape input() const { return {kHidden}; }
  Ends run(const Pass& pass, Tensor x, Tensor dy) {
    typename Layer::Saved saved;
    Ends ends;
    ends.y = layer.forward(pass, x, saved, {});
    ends.dx = layer.backward_input(pass, dy, saved);
    layer.backward_weight(pass, saved);
    return ends;
  }
};
struct RotaryAttentionCase : BranchCase<SelfAttention> {
  explicit RotaryAttentionCase(ParamList& list) : BranchCase{SelfAttention(list, "attention", kRotary)} {}
};
struct BiasedAttentionCase : BranchCase<SelfAttention> {
  explicit BiasedAttentionCase(ParamList& list) : BranchCase{SelfAttention(list, "attention", kBiased)} {}
};
struct GeluCase : BranchCase<GeluMlp> {
  explicit GeluCase(ParamList& list) : BranchCase{GeluMlp(list, "mlp", kHidden, 40, 0.2f, 0.2f)} {}
};
struct SwigluCase : BranchCase<SwigluMlp> {
  explicit SwigluCase(ParamList& list) : BranchCase{SwigluMlp(list, "mlp", kHidden, 40, 0.2f, 0.2f)} {}
};

template <class Norm, class Mlp>
struct BlockCase {
  Block<Norm, Mlp> layer;
  explicit BlockCase(ParamList& list)
      : layer(list, "block", std::is_same_v<Norm, LayerNorm> ? kBiased : kRotary, 40, 1e-5f, 0.2f) {}
  Shape input() const { return {kHidden}; }
  Ends run(const Pass& pass, Tensor x, Tensor dy) {
    typename Block<Norm, Mlp>::Saved saved;
    Ends ends;
    ends.y = layer.forward(pass, copy_of(pass, x), saved);
    ends.dx = layer.backward_input(pass, copy_of(pass, dy), saved);
    layer.backward_weight(pass, saved);
    return ends;
  }
};

struct EmbeddingCase {
  Embedding layer;
  explicit EmbeddingCase(ParamList& list)
      : layer(list, "embedding",
              {.vocabulary = 37, .hidden_size = kHidden, .learned_positions = 9, .dropout = 0.2f, .init_std = 0.3f}) {}
  Shape input() const { return {}; }
  Ends run(const Pass& pass, Tensor, Tensor dy) {
    Embedding::Saved saved;
    Ends ends;
    ends.y = layer.forward(pass);
    layer.backward_input(pass, copy_of(pass, dy), saved);
    layer.backward_weight(pass, saved);
    return ends;
  }
};

template <class Norm>
struct HeadCase {
  Head<Norm> layer;
  explicit HeadCase(ParamList& list)
      : layer(list, 37, kHidden, 1e-5f, 0.3f, "", {.label_smoothing = 0.1f, .z_loss = 0.05f, .chunk_rows = 7}) {}
  Shape input() const { return {kHidden}; }
  Ends run(const Pass& pass, Tensor x, Tensor) {
    typename Head<Norm>::Saved saved;
    Ends ends;
    layer.forward(pass, copy_of(pass, x), saved);
    ends.dx = layer.backward_input(pass, saved);
    layer.backward_weight(pass, saved);
    return ends;
  }
};

template <class Case>
class GradientCheck : public testing::Test {
 protected:
  static constexpr SpanRule kWhole{SpanRule::Kind::kWhole, 1};
  static constexpr SpanRule kPerSample{SpanRule::Kind::kPerSample, 1};

  GradientCheck() : group_(1), rank_(group_, 0, {}, std::size_t{64} << 20), layer_(list_) {
    for (const ParamSpec& spec : list_.specs())
      values_.push_back(normal(spec.shape.elements(), spec.init.kind == Init::Kind::kOnes ? 1 : 0, 0.3));
  }

  struct Result {
    double objective = 0, terms = 0;            // terms: sum|dy y|
    std::vector<double> dx;                     // of the input
    std::vector<std::vector<double>> gradient;  // of each parameter
  };

  Result evaluate(const std::vector<double>& x, const std::vector<std::vector<double>>& values, Order order) {
    Context& context = rank_.context();
    const SpanRule rule = order == Order::kExact ? kPerSample : kWhole;
    const Batch batch = small_batch(small_model(config::Model::gpt2, true), {1, 4});
    const DeviceBatches batches(context, {&batch, 1}, rule);
    const Parameters parameters(context, list_.specs(), DType::kF32);
    for (ParamIndex i = 0; i < values.size(); ++i) rank_.write(parameters.value(i), values[i]);
    GradientBuckets buckets(context, parameters.plan(), rank_.peers(), rank_.communication(), nullptr,
                            {.order = order, .groups = order == Order::kExact ? 4 : 1});
    const ArenaTensor loss = context.arena->allocate({buckets.groups()}, DType::kF32, "loss");
    const ArenaTensor scale = context.arena->allocate({1}, DType::kF32, "scale");
    context.ops->fill(context.compute, loss, 0);
    context.ops->fill(context.compute, scale, 1);
    const Pass pass{.context = &context,
                    .parameters = &parameters,
                    .gradients = &buckets,
                    .batch = &batches[0],
                    .order = order,
                    .training = true,
                    .last_micro_batch = true,
                    .seed = 9,
                    .loss = loss,
                    .gradient_scale = scale};
    const std::int64_t rows = batches[0].rows;
    const ArenaTensor input = pass.activation(with_rows(rows, layer_.input()));
    if (!x.empty()) rank_.write(input, x);
    buckets.begin_step(1);
    const ArenaTensor dy = pass.activation({rows, kWidth});
    rank_.write(dy, weights_of_outputs(rows * kWidth));

    Result result;
    {
      const Ends ends = layer_.run(pass, input, dy_of(dy, rows));
      buckets.finish();
      if (ends.dx.given()) result.dx = rank_.read(ends.dx);
      const std::vector<double> outputs = rank_.read(ends.y.given() ? *ends.y : *loss);
      const std::vector<double> weights = weights_of_outputs(rows * kWidth);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        const double term = outputs[i] * (ends.y.given() ? static_cast<float>(weights[i]) : 1.0);
        result.objective += term;
        result.terms += std::abs(term);
      }
    }
    const BucketPlan& plan = parameters.plan();
    for (ParamIndex i = 0; i < values.size(); ++i) {
      const BucketPlan::Parameter& parameter = plan.parameters[i];
      const std::int64_t begin = parameter.begin - plan.buckets[parameter.bucket].range.begin;
      result.gradient.push_back(
          rank_.read(buckets.reduced(parameter.bucket).flat(begin, begin + parameter.box.elements())));
    }
    return result;
  }

  // Holds `gradient` against the objective's change as `at` moves; `evaluate_here` sees it moved.
  template <class Evaluate>
  void check(const std::string& what, std::vector<double>& at, const std::vector<double>& gradient, Evaluate again) {
    ASSERT_EQ(gradient.size(), at.size()) << what;
    const std::vector<double> origin = at;
    for (int direction = 0; direction < 3; ++direction) {
      const std::vector<double> v = normal(static_cast<std::int64_t>(at.size()), 0, 1);
      double terms = 0;
      const auto difference = [&](double h) {
        double sides[2];
        for (const int side : {0, 1}) {
          for (std::size_t i = 0; i < at.size(); ++i)
            at[i] = static_cast<float>(origin[i] + (side == 1 ? h : -h) * v[i]);
          const Result moved = again();
          sides[side] = moved.objective;
          terms = std::max(terms, moved.terms);
        }
        return (sides[1] - sides[0]) / (2 * h);
      };
      const double narrow = difference(kStep), wide = difference(2 * kStep);
      double analytic = 0, squares = 0;
      for (std::size_t i = 0; i < at.size(); ++i) {
        analytic += gradient[i] * v[i];
        squares += gradient[i] * gradient[i];
      }
      const double bound = std::abs(narrow - wide) + kC * kUnit * terms / kStep;
      EXPECT_NEAR(analytic, narrow, bound) << what;
      EXPECT_LT(bound, 0.1 * std::sqrt(squares)) << what << ": the check says too little";
    }
    at = origin;
  }

  void check_all(Order order) {
    std::vector<double> x;
    const Shape input = layer_.input();
    if (input.dims() > 0) x = normal(27 * input.elements(), 0.2, 1);
    std::vector<std::vector<double>> values = values_;
    const Result result = evaluate(x, values, order);
    if (!x.empty()) check("the input", x, result.dx, [&] { return evaluate(x, values, order); });
    for (ParamIndex i = 0; i < values.size(); ++i)
      check(list_.specs()[i].name, values[i], result.gradient[i], [&] { return evaluate(x, values, order); });
  }

 private:
  static constexpr std::int64_t kWidth = 24;  // of an output row, at most

  Tensor dy_of(const Tensor& dy, std::int64_t rows) const {
    if constexpr (std::is_same_v<Case, LinearCase>) return dy.flat(0, rows * 15).view({rows, 3, 5});
    return dy;
  }
  std::vector<double> weights_of_outputs(std::int64_t count) const {
    std::mt19937_64 random(4);
    std::vector<double> weights;
    std::normal_distribution<double> one;
    for (std::int64_t i = 0; i < count; ++i) weights.push_back(one(random));
    return weights;
  }
  std::vector<double> normal(std::int64_t count, double mean, double deviation) {
    std::vector<double> values;
    std::normal_distribution<double> one(mean, deviation);
    for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(one(random_)));
    return values;
  }

  std::mt19937_64 random_{7};
  LocalGroup group_;
  TestRank rank_;
  ParamList list_;
  Case layer_;
  std::vector<std::vector<double>> values_;
};

using Layers = testing::Types<LinearCase, NormCase<LayerNorm>, NormCase<RmsNorm>, RotaryAttentionCase,
                              BiasedAttentionCase, GeluCase, SwigluCase, BlockCase<LayerNorm, GeluMlp>,
                              BlockCase<RmsNorm, SwigluMlp>, EmbeddingCase, HeadCase<LayerNorm>, HeadCase<RmsNorm>>;
TYPED_TEST_SUITE(GradientCheck, Layers);

TYPED_TEST(GradientCheck, InputAndParametersMatchCentralDifferences) { this->check_all(Order::kFast); }
TYPED_TEST(GradientCheck, InputAndParametersMatchCentralDifferencesInExactOrder) { this->check_all(Order::kExact); }

}  // namespace
}  // namespace trireme
