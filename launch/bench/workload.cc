#include "launch/bench/workload.h"

#include <cstdio>
#include <random>
#include <type_traits>

#include "monitoring/error.h"

namespace trireme {

Workload workload_named(const std::string& text) {
  if (text == "tiny") return {text, 6, 384, 256, 8192, 8};
  if (text == "small") return {text, 12, 768, 1024, 50257, 1};
  Workload own{.name = text};
  int used = 0;
  const int read = std::sscanf(text.c_str(), "%6dx%6dx%6dx%6dx%6d%n", &own.layers, &own.hidden_size,
                               &own.sequence_length, &own.vocabulary, &own.batch, &used);
  if (read != 5 || used != static_cast<int>(text.size()))
    throw UserError("--size " + text +
                    ": there are tiny, small, and sizes of your own, written as layers x hidden size x sequence length "
                    "x vocabulary x batch: 2x128x64x512x4");
  if (own.layers < 1 || own.sequence_length < 1 || own.vocabulary < 2 || own.batch < 1 || own.hidden_size < 1)
    throw UserError("--size " + text + ": every number must be at least 1, and the vocabulary 2");
  if (own.hidden_size % Workload::kHeadSize != 0)
    throw UserError("--size " + text + ": the hidden size " + std::to_string(own.hidden_size) +
                    " is no multiple of a head's " + std::to_string(Workload::kHeadSize));
  return own;
}

Experiment experiment_of(const Workload& workload, config::Precision precision) {
  constexpr int kVocabularyMultiple = 64;  // as launch/config/resolve.cc pads it
  Experiment experiment;
  config::Model& model = experiment.model;
  model.set_family(config::Model::gpt2);
  model.set_layers(workload.layers);
  model.set_hidden_size(workload.hidden_size);
  model.set_heads(workload.heads());
  model.set_kv_heads(workload.heads());
  model.set_head_dim(Workload::kHeadSize);
  model.set_ffn_size(4 * workload.hidden_size);
  model.set_vocab_size((workload.vocabulary + kVocabularyMultiple - 1) / kVocabularyMultiple * kVocabularyMultiple);
  model.set_sequence_length(workload.sequence_length);
  model.set_tied_embeddings(true);
  experiment.train.set_global_batch(workload.batch);
  experiment.train.set_micro_batch(workload.batch);
  experiment.train.set_precision(precision);
  return experiment;
}

Batch random_batch(const Workload& workload, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::int32_t> token(0, workload.vocabulary - 1);
  Batch batch;
  batch.samples = workload.batch;
  batch.sequence_length = workload.sequence_length;
  for (std::int64_t sample = 0; sample < workload.batch; ++sample) {
    batch.sample_index.push_back(sample);
    for (std::int32_t t = 0; t < workload.sequence_length; ++t) {
      batch.tokens.push_back(token(random));
      batch.targets.push_back(token(random));
      batch.loss_mask.push_back(1);
      batch.positions.push_back(t);
      batch.key_begin.push_back(0);
    }
  }
  return batch;
}

std::vector<Batch> random_micro_batches(const Workload& workload, std::uint64_t seed, const BatchPlan& plan) {
  const Batch whole = random_batch(workload, seed);
  std::vector<Batch> all;
  for (std::int64_t m = 0; m < plan.micro_batches(); ++m) {
    const SampleRange range = plan.micro_range(0, m);
    const auto part = [&](const auto& of_tokens, std::int64_t each) {
      const auto begin = of_tokens.begin();
      return std::decay_t<decltype(of_tokens)>(begin + range.begin * each, begin + range.end * each);
    };
    const std::int64_t T = whole.sequence_length;
    all.push_back({.samples = range.size(),
                   .sequence_length = T,
                   .tokens = part(whole.tokens, T),
                   .targets = part(whole.targets, T),
                   .loss_mask = part(whole.loss_mask, T),
                   .positions = part(whole.positions, T),
                   .key_begin = part(whole.key_begin, T),
                   .sample_index = part(whole.sample_index, 1)});
  }
  return all;
}

}  // namespace trireme
