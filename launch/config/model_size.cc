#include "launch/config/model_size.h"

#include <algorithm>

namespace trireme {
namespace {

// Of one layer: what tensor parallelism cuts by all of tp, what by at most kv_heads, and what each rank holds whole.
struct LayerParts {
  std::int64_t cut = 0, key_value = 0, whole = 0;
};

LayerParts layer_parts(const config::Model& model) {
  const std::int64_t hidden = model.hidden_size(), ffn = model.ffn_size();
  const std::int64_t queries = std::int64_t{model.heads()} * model.head_dim();
  const std::int64_t keys_and_values = 2 * std::int64_t{model.kv_heads()} * model.head_dim();
  LayerParts parts;
  if (model.family() == config::Model::gpt2) {
    parts.cut = queries * (hidden + 1) + queries * hidden + ffn * (hidden + 1) + ffn * hidden;
    parts.key_value = keys_and_values * (hidden + 1);
    parts.whole = hidden + hidden + 2 * 2 * hidden;  // the biases after the cut, and two norms with weight and bias
  } else {
    parts.cut = 2 * queries * hidden + 3 * ffn * hidden;
    parts.key_value = keys_and_values * hidden;
    parts.whole = 2 * hidden;
  }
  return parts;
}

// Of a parameter or an activation.
double bytes_of_value(const config::Run& run) { return run.train().precision() == config::fp32 ? 4 : 2; }

// Bytes kept of one token in one layer between forward and backward: the inputs of every matrix product, norm and
// activation function, with sequence parallelism (everything is cut by tp). `selective` computes what attention makes
// again, `full` the whole layer.
double saved_bytes_per_token(const config::Run& run, config::Recompute recompute) {
  const config::Model& model = run.model();
  const double hidden = model.hidden_size(), ffn = model.ffn_size();
  const double queries = double(model.heads()) * model.head_dim();
  const double keys_and_values = 2.0 * model.kv_heads() * model.head_dim();
  const double up = model.family() == config::Model::llama ? 2 * ffn : ffn;
  double elements = hidden;  // the layer's input
  if (recompute != config::full) elements += 3 * hidden + queries + keys_and_values + up + ffn;
  if (recompute == config::none) elements += queries;
  const double statistics = 4.0 * (model.heads() + 4);  // attention's log-sum-exp, and the norms': fp32
  return (elements * (bytes_of_value(run)) + statistics) / run.mesh().tp();
}

// Micro-batches whose activations rank `rank` of the pipeline holds at once, of all its layers.
double micro_batches_in_flight(const config::Run& run, int dp, int rank) {
  const double behind = run.mesh().pp() - 1 - rank;
  const double chunks = run.pipeline().chunks();
  const double all = std::max(1.0, double(run.train().global_batch()) / dp / run.train().micro_batch());
  switch (run.pipeline().schedule()) {
    case config::Pipeline::gpipe:
      return all;
    case config::Pipeline::interleaved_1f1b:
      return std::min(all, (2 * behind + (chunks - 1) * run.mesh().pp() + 1) / chunks);
    default:
      return std::min(all, behind + 1);
  }
}

// Of the rank that keeps most: stages may recompute unlike parts.
double activation_bytes_per_token_and_layer(const config::Run& run, int dp) {
  double most = 0;
  for (int rank = 0; rank < run.mesh().pp(); ++rank) {
    const auto choice = static_cast<config::Recompute>(run.recompute(run.recompute_size() == 1 ? 0 : rank));
    most = std::max(most, saved_bytes_per_token(run, choice) * micro_batches_in_flight(run, dp, rank));
  }
  return most;
}

}  // namespace

ParameterCount count_parameters(const config::Model& model) {
  const std::int64_t hidden = model.hidden_size(), vocabulary = model.vocab_size();
  const bool gpt2 = model.family() == config::Model::gpt2;
  const LayerParts parts = layer_parts(model);
  ParameterCount count;
  count.embedding = vocabulary * hidden + (gpt2 ? std::int64_t{model.sequence_length()} * hidden : 0);
  count.per_layer = parts.cut + parts.key_value + parts.whole;
  count.final_norm = gpt2 ? 2 * hidden : hidden;
  count.head = model.tied_embeddings() ? 0 : vocabulary * hidden;
  count.total = count.embedding + model.layers() * count.per_layer + count.final_norm + count.head;
  return count;
}

MemoryPerRank memory_per_rank(const config::Run& run, int dp) {
  const config::Model& model = run.model();
  const config::Mesh& mesh = run.mesh();
  const LayerParts parts = layer_parts(model);
  const ParameterCount count = count_parameters(model);
  const std::int64_t most_layers = (model.layers() + mesh.pp() - 1) / mesh.pp();  // of a stage
  const auto layers = static_cast<double>(most_layers);
  // The first stage holds the embedding, the last the head; a tied one is held by both. Both are cut over the
  // vocabulary.
  const double first = double(count.embedding) / mesh.tp();
  const double last = double(model.vocab_size()) * model.hidden_size() / mesh.tp() + double(count.final_norm);
  const double ends =
      mesh.pp() > 1 ? std::max(first, last) : first + double(count.head) / mesh.tp() + double(count.final_norm);
  const double elements =
      ends + layers * (double(parts.cut) / mesh.tp() + double(parts.key_value) / std::min(mesh.tp(), model.kv_heads()) +
                       double(parts.whole));
  const bool narrow = run.train().precision() != config::fp32;
  const double replicas = double(dp) * mesh.cp();
  const int stage = run.zero().stage();
  const double tokens = double(run.train().micro_batch()) * model.sequence_length() / mesh.cp();

  MemoryPerRank memory;
  memory.parameters = elements * bytes_of_value(run) / (stage >= 3 ? replicas : 1);
  memory.gradients = elements * 4 / (stage >= 2 ? replicas : 1);
  memory.optimizer = elements * (narrow ? 12 : 8) / (stage >= 1 ? replicas : 1);
  memory.activations = tokens * layers * activation_bytes_per_token_and_layer(run, dp);
  memory.logits =
      std::min(tokens, double(run.train().loss_chunk_rows())) * model.vocab_size() / mesh.tp() * (narrow ? 6 : 8);
  return memory;
}

}  // namespace trireme
