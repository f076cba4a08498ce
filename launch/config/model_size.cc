#include "launch/config/model_size.h"

#include <algorithm>
#include <set>
#include <string>

#include "parallel/pipeline/shape.h"
#include "trainer/model/parameters.h"
#include "trainer/model/transformer.h"

namespace trireme {
namespace {

// Elements of the slice's parameters that the first rank of tensor parallelism holds.
std::int64_t held_elements(const config::Run& run, const StageSlice& slice) {
  ParamList list;
  make_stage(run.model(), {}, slice, list);
  AxisPlaces places;
  places[Axis::kTp] = {.parts = run.mesh().tp(), .index = 0};
  std::set<std::string> names;
  std::int64_t elements = 0;
  for (const ParamSpec& spec : list.specs()) {
    if (!names.contains(spec.tied_to)) elements += local_box(spec, places).elements();
    names.insert(spec.name);
  }
  return elements;
}

// Of the fullest place in the pipeline, before ZeRO cuts them. Blocks are alike: one is declared, however many there
// are.
std::int64_t most_elements(const config::Run& run) {
  const PipelineShape shape{run.mesh().pp(), run.pipeline().chunks()};
  const std::int64_t block = held_elements(run, {0, 1, false, false});
  std::int64_t most = 0;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    std::int64_t blocks = 0;
    for (int chunk = 0; chunk < shape.chunks; ++chunk) {
      const StageSlice slice = slice_of(run.model(), shape.stages(), shape.stage_of(rank, chunk));
      blocks += slice.last_block - slice.first_block;
    }
    most = std::max(most, blocks * block + held_elements(run, {0, 0, rank == 0, rank == shape.ranks - 1}));
  }
  return most;
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
  config::Model one_layer = model;
  one_layer.set_layers(1);
  ParameterCount count;
  for (const ParamSpec& spec : whole_model_specs(one_layer)) {
    if (!spec.tied_to.empty()) continue;
    const std::int64_t elements = spec.shape.elements();
    if (spec.name.starts_with("embedding.")) count.embedding += elements;
    if (spec.name.starts_with("layers.0.")) count.per_layer += elements;
    if (spec.name.starts_with("final_norm.")) count.final_norm += elements;
    if (spec.name.starts_with("head.")) count.head += elements;
  }
  count.total = count.embedding + model.layers() * count.per_layer + count.final_norm + count.head;
  return count;
}

MemoryPerRank memory_per_rank(const config::Run& run, int dp) {
  const config::Model& model = run.model();
  const config::Mesh& mesh = run.mesh();
  const auto elements = static_cast<double>(most_elements(run));
  const int layers = (model.layers() + mesh.pp() - 1) / mesh.pp();  // of a rank, at most
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
