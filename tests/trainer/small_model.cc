#include "tests/trainer/small_model.h"

#include <random>

namespace trireme {

config::Model small_model(config::Model::Family family, bool tied) {
  config::Model model;
  model.set_family(family);
  model.set_layers(2);
  model.set_hidden_size(24);
  model.set_heads(3);
  model.set_kv_heads(family == config::Model::llama ? 1 : 3);
  model.set_head_dim(8);
  model.set_ffn_size(40);
  model.set_vocab_size(37);
  model.set_sequence_length(9);
  model.set_tied_embeddings(tied);
  model.set_norm_epsilon(1e-5);
  model.set_rope_theta(100);
  model.set_init_std(0.2);
  return model;
}

Experiment small_experiment(const config::Model& model, std::int64_t global_batch) {
  Experiment experiment;
  experiment.model = model;
  experiment.train.set_global_batch(static_cast<std::int32_t>(global_batch));
  experiment.train.set_loss_chunk_rows(7);  // divides neither a sample nor a micro-batch
  experiment.optimizer.set_learning_rate(1e-2);
  experiment.optimizer.set_epsilon(1e-4);
  experiment.seed = 5;
  return experiment;
}

void make_noisy(Experiment& experiment) {
  experiment.model.set_dropout(0.2);
  experiment.model.set_attention_dropout(0.3);
  experiment.train.set_label_smoothing(0.1);
  experiment.train.set_z_loss(1e-2);
}

Batch small_batch(const config::Model& model, SampleRange samples) {
  Batch batch;
  batch.samples = samples.size();
  batch.sequence_length = model.sequence_length();
  for (std::int64_t index = samples.begin; index < samples.end; ++index) {
    std::mt19937_64 random(static_cast<std::uint64_t>(index) + 100);
    const auto below = [&](int limit) { return static_cast<std::int32_t>(random() % static_cast<unsigned>(limit)); };
    batch.sample_index.push_back((std::int64_t{1} << 33) + index);
    const int counted_of_eight = static_cast<int>(index % 4) * 2 + 1;
    std::int32_t begin = 0;
    for (std::int32_t t = 0; t < model.sequence_length(); ++t) {
      if (t > 0 && below(4) == 0) begin = t;
      const bool counts = t == 0 || below(8) < counted_of_eight;
      batch.tokens.push_back(below(model.vocab_size()));
      batch.targets.push_back(counts ? below(model.vocab_size()) : -1);
      batch.loss_mask.push_back(counts ? 1.0f : 0.0f);
      batch.positions.push_back(t - begin);
      batch.key_begin.push_back(begin);
    }
  }
  return batch;
}

std::vector<Batch> small_micro_batches(const config::Model& model, const BatchPlan& plan, std::int64_t step) {
  std::vector<Batch> batches;
  for (std::int64_t m = 0; m < plan.micro_batches(); ++m)
    batches.push_back(small_batch(model, plan.micro_range(step, m)));
  return batches;
}

oracle::Decoder decoder_of(const Experiment& experiment) {
  const config::Model& model = experiment.model;
  const auto as_given = [](double x) { return static_cast<double>(static_cast<float>(x)); };  // layers keep floats
  return {.family = model.family() == config::Model::gpt2 ? oracle::Family::kGpt2 : oracle::Family::kLlama,
          .layers = model.layers(),
          .hidden = model.hidden_size(),
          .heads = model.heads(),
          .kv_heads = model.kv_heads(),
          .head_dim = model.head_dim(),
          .ffn = model.ffn_size(),
          .vocabulary = model.vocab_size(),
          .tied = model.tied_embeddings(),
          .norm_epsilon = as_given(model.norm_epsilon()),
          .rope_theta = model.rope_theta(),
          .dropout = as_given(model.dropout()),
          .attention_dropout = as_given(model.attention_dropout()),
          .label_smoothing = as_given(experiment.train.label_smoothing()),
          .z_loss = as_given(experiment.train.z_loss())};
}

std::vector<oracle::Token> tokens_of(const Batch& batch) {
  std::vector<oracle::Token> tokens;
  for (std::size_t r = 0; r < batch.tokens.size(); ++r) {
    const auto length = static_cast<std::size_t>(batch.sequence_length);
    tokens.push_back({.id = batch.tokens[r],
                      .target = batch.targets[r],
                      .counts = batch.loss_mask[r] != 0,
                      .position = batch.positions[r],
                      .sample = batch.sample_index[r / length],
                      .offset = static_cast<int>(r % length),
                      .first_key = static_cast<int>(r / length * length) + batch.key_begin[r]});
  }
  return tokens;
}

oracle::Tensors random_parameters(const ParamList& list, double deviation) {
  oracle::Tensors values;
  for (const ParamSpec& spec : list.specs()) {
    if (!spec.tied_to.empty()) continue;
    std::mt19937_64 random(oracle::key_of(1, spec.name));
    std::normal_distribution<double> normal(spec.init.kind == Init::Kind::kOnes ? 1 : 0, deviation);
    for (std::int64_t i = 0; i < spec.shape.elements(); ++i) values[spec.name].push_back(normal(random));
  }
  return values;
}

}  // namespace trireme
