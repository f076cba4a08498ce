#include <algorithm>

#include <gtest/gtest.h>

#include "tests/paths.h"
#include "tests/trainer/cached_logits.h"
#include "tests/trainer/determined.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/generate/inference_model.h"
#include "trainer/loop/train_loop.h"

namespace trireme {
namespace {

// A text that attends to all of itself.
std::vector<oracle::Token> plain_text(const std::vector<std::int32_t>& tokens) {
  std::vector<oracle::Token> text;
  for (std::size_t t = 0; t < tokens.size(); ++t)
    text.push_back({.id = tokens[t], .target = 0, .position = static_cast<int>(t), .offset = static_cast<int>(t)});
  return text;
}

TEST(KvCache, LogitsAreThoseOfTheWholeTextHoweverItIsFed) {
  for (const auto family : {config::Model::gpt2, config::Model::llama}) {
    const Experiment experiment = small_experiment(small_model(family, family == config::Model::gpt2), 1);
    LocalGroup group(1);
    SmallRun run(group, experiment, {.global_batch = 1, .micro_batch = 1}, {}, 3);
    run.set_weights(random_parameters(run.step().list(), 0.25));
    const std::vector<std::int32_t> tokens = {3, 36, 0, 0, 17, 5, 22, 3, 9};
    const auto logits = [&](const oracle::Rounding& how) {
      return oracle::run(decoder_of(experiment), run.weights(), plain_text(tokens), 0, oracle::Mode::kEvaluation, how)
          .logits;
    };
    const auto exact = logits({});
    std::vector<Determined> rows(exact.size());
    for (std::size_t r = 0; r < rows.size(); ++r) rows[r].set(exact[r]);
    for (int i = 1; i <= kRuns; ++i) {
      const auto rounded = logits({0x1p-24, 0, static_cast<std::uint64_t>(i)});
      for (std::size_t r = 0; r < rows.size(); ++r) rows[r].widen(rounded[r]);
    }
    for (std::size_t prompt = 1; prompt <= tokens.size(); ++prompt) {
      CachedText text(run, experiment.model.sequence_length());
      const auto end = tokens.begin() + static_cast<std::ptrdiff_t>(prompt);
      expect_determined("after the prompt", text.extend({tokens.begin(), end}), rows[prompt - 1]);
      for (std::size_t t = prompt; t < tokens.size(); ++t)
        expect_determined("token " + std::to_string(t), text.extend({tokens[t]}), rows[t]);
    }
  }
}

TEST(InferenceModel, TakesTheLikeliestTokensAndGoesOnPastItsContext) {
  const std::string directory = std::string(TRIREME_SOURCE_DIR) + "/tests/trainer/fixtures/tiny-gpt2";
  config::Model model = small_model(config::Model::gpt2, true);
  model.set_vocab_size(53);
  model.set_sequence_length(11);
  model.set_ffn_size(56);
  const auto device = make_host_device({.guard_memory = true});
  InferenceModel inference(*device, host_kernels(), model, directory);
  const std::vector<std::int32_t> prompt = {1, 2, 3};
  const auto generate = [&](std::int64_t tokens, const SamplingOptions& sampling) {
    std::vector<std::int32_t> made;
    inference.generate(prompt, tokens, sampling, [&](std::int32_t token) {
      made.push_back(token);
      return true;
    });
    return made;
  };
  const std::vector<std::int32_t> likeliest = generate(30, {.temperature = 0});
  EXPECT_EQ(likeliest.size(), 30u);
  EXPECT_EQ(generate(30, {.temperature = 0}), likeliest);
  EXPECT_EQ(generate(30, {.seed = 4}), generate(30, {.seed = 4}));
  EXPECT_NE(generate(30, {.seed = 4}), generate(30, {.seed = 5}));

  // Up to the context's end, each is the likeliest that the oracle knows after the text so far.
  Experiment experiment = small_experiment(model, 1);
  LocalGroup group(1);
  SmallRun run(group, experiment, {.global_batch = 1, .micro_batch = 1}, {}, 3);
  load_weights(run.rank().context(), directory, checkpoint_params(run.step()));
  std::vector<std::int32_t> text = prompt;
  for (std::size_t i = 0; text.size() < 11; ++i) {
    const std::vector<double> last =
        oracle::run(decoder_of(experiment), run.weights(), plain_text(text), 0, oracle::Mode::kEvaluation)
            .logits.back();
    const auto best = static_cast<std::int32_t>(std::max_element(last.begin(), last.end()) - last.begin());
    EXPECT_EQ(likeliest[i], best) << "token " << i;
    text.push_back(likeliest[i]);
  }
}

}  // namespace
}  // namespace trireme
