// The directories in tests/trainer/fixtures, made by transformers and PyTorch (make_hugging_face_fixtures.py there).
#include "trainer/model/hugging_face.h"

#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "parallel/placement/file_boxes.h"
#include "tests/paths.h"
#include "tests/trainer/cached_logits.h"
#include "tests/trainer/determined.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/file_copy.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/loop/train_loop.h"

namespace trireme {
namespace {

struct Fixture {
  std::string directory;
  config::Model model;
};

Fixture fixture(config::Model::Family family) {
  const bool gpt2 = family == config::Model::gpt2;
  config::Model model = small_model(family, gpt2);
  model.set_vocab_size(53);
  model.set_sequence_length(11);
  model.set_rope_theta(500);
  if (gpt2) model.set_ffn_size(56);
  if (!gpt2) {
    model.set_heads(6);
    model.set_kv_heads(2);
    model.set_head_dim(4);
  }
  return {std::string(TRIREME_SOURCE_DIR) + "/tests/trainer/fixtures/" + (gpt2 ? "tiny-gpt2" : "tiny-llama"), model};
}

class Expected {
 public:
  explicit Expected(const std::string& directory) : file_(directory + "/expected.safetensors") {}

  template <class T>
  std::vector<T> values(const std::string& name) const {
    for (const SafetensorsEntry& entry : file_.entries())
      if (entry.name == name) {
        std::vector<T> values(static_cast<std::size_t>(entry.shape.elements()));
        std::memcpy(values.data(), file_.bytes_of_entry(entry).data(), entry.bytes());
        return values;
      }
    ADD_FAILURE() << "the fixture has no " << name;
    return {};
  }

 private:
  SafetensorsFile file_;
};

// Each token predicted from those before it; the last of a sample predicts nothing.
Batch next_token_batch(const config::Model& model, const std::vector<std::int32_t>& tokens) {
  Batch batch;
  batch.sequence_length = model.sequence_length();
  batch.samples = static_cast<std::int64_t>(tokens.size()) / batch.sequence_length;
  batch.tokens = tokens;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto t = static_cast<std::int32_t>(static_cast<std::int64_t>(i) % batch.sequence_length);
    const bool last = t + 1 == batch.sequence_length;
    batch.targets.push_back(last ? -1 : tokens[i + 1]);
    batch.loss_mask.push_back(last ? 0.0f : 1.0f);
    batch.positions.push_back(t);
    batch.key_begin.push_back(0);
  }
  for (std::int64_t s = 0; s < batch.samples; ++s) batch.sample_index.push_back(s);
  return batch;
}

class HuggingFace : public testing::TestWithParam<config::Model::Family> {
 protected:
  HuggingFace()
      : from(fixture(GetParam())),
        expected(from.directory),
        experiment(small_experiment(from.model, 2)),
        group(1),
        run(group, experiment, {.global_batch = 2, .micro_batch = 2}, {}, 3) {
    load_weights(run.rank().context(), from.directory, checkpoint_params(run.step()));
    run.step().optimizer().round_masters();
    tokens = expected.values<std::int32_t>("tokens");
  }

  Fixture from;
  Expected expected;
  Experiment experiment;
  LocalGroup group;
  SmallRun run;
  std::vector<std::int32_t> tokens;
};

TEST_P(HuggingFace, LogitsAreTransformersTo1e4) {
  const std::vector<float> logits = expected.values<float>("logits");
  const auto length = static_cast<std::size_t>(from.model.sequence_length());
  const auto columns = static_cast<std::size_t>(from.model.vocab_size());
  double most = 0;
  for (std::size_t sample = 0; sample < 2; ++sample) {
    CachedText text(run, from.model.sequence_length());
    for (std::size_t t = 0; t < length; ++t) {
      const std::vector<double> row = text.extend({tokens[sample * length + t]});
      for (std::size_t v = 0; v < columns; ++v) {
        const double want = logits[(sample * length + t) * columns + v];
        most = std::max(most, std::abs(want));
        ASSERT_NEAR(row[v], want, 1e-4) << "sample " << sample << ", token " << t << ", column " << v;
      }
    }
  }
  EXPECT_GT(most, 1);  // they are not all about zero
}

// Both sides have roundings of their own, so the bound is twice that of one.
TEST_P(HuggingFace, LossAndGradientsAreTransformersAsFarAsRoundingDeterminesThem) {
  const Batch batch = next_token_batch(from.model, tokens);
  run.step().run(1, {&batch, 1}, 0);
  EXPECT_NEAR(run.step().report().loss, expected.values<float>("loss")[0], 1e-5);

  std::map<std::string, Determined> determined;
  const oracle::Tensors weights = run.weights();
  const auto gradients = [&](const oracle::Rounding& how) {
    return oracle::run(decoder_of(experiment), weights, tokens_of(batch), 0, oracle::Mode::kTraining, how).gradients;
  };
  for (const auto& [name, values] : gradients({})) determined[name].set(values);
  for (int i = 1; i <= kRuns; ++i)
    for (const auto& [name, values] : gradients({0x1p-24, 0, static_cast<std::uint64_t>(i)}))
      determined[name].widen(values);

  const oracle::Tensors got = run.gradients();
  for (const ParamSpec& spec : run.step().list().specs()) {
    if (!spec.tied_to.empty()) continue;
    std::vector<float> in_ours(static_cast<std::size_t>(spec.shape.elements()));
    for (const FileBox& file : spec.files) {
      std::vector<float> theirs = expected.values<float>("gradient." + file.tensor);
      copy_from_file(spec, whole(spec.shape), file.tensor, in_ours, theirs);
    }
    Determined& want = determined.at(spec.name);
    want.value.assign(in_ours.begin(), in_ours.end());
    for (double& one : want.spread) one *= 2;
    expect_determined(spec.name, got.at(spec.name), want);
  }
}

TEST_P(HuggingFace, OurConfigSaysOfTheModelWhatTheirsSays) {
  std::ifstream in(from.directory + "/config.json");
  const nlohmann::json theirs = nlohmann::json::parse(in);
  const nlohmann::json ours = nlohmann::json::parse(hugging_face_config(from.model, DType::kF32, 0));
  for (const auto& [name, value] : ours.items())
    if (theirs.contains(name) && name != "initializer_range" && name != "use_cache") {
      EXPECT_EQ(value, theirs.at(name)) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(Families, HuggingFace, testing::Values(config::Model::gpt2, config::Model::llama),
                         [](const auto& one) { return one.param == config::Model::gpt2 ? "Gpt2" : "Llama"; });

TEST(HuggingFaceFiles, HoldEveryElementOnceForBothFamiliesTiedOrNot) {
  for (const auto family : {config::Model::gpt2, config::Model::llama})
    for (const bool tied : {true, false}) {
      ParamList list;
      const config::Model model = small_model(family, tied);
      make_stage(model, {}, whole_model(model), list);
      name_files(model, list.specs());
      EXPECT_EQ(file_coverage_problems(list.specs()), std::vector<std::string>{});
    }
}

}  // namespace
}  // namespace trireme
