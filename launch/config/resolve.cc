#include "launch/config/resolve.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <numeric>

#include "dataloader/shard/manifest.h"
#include "launch/config/fields.h"
#include "launch/config/hugging_face.h"

namespace trireme {
namespace {

constexpr std::int64_t kVocabularyMultiple = 64;  // of rows: full vectors, and cuts for tensor parallelism

std::int64_t rounded_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Sets a size that follows from others, unless it cannot be one; then validation names the cause.
void derive(config::Model& model, void (config::Model::*set)(std::int32_t), std::int64_t value) {
  if (value > 0 && value <= std::numeric_limits<std::int32_t>::max()) (model.*set)(static_cast<std::int32_t>(value));
}

void derive_model(config::Model& model) {
  const bool gpt2 = model.family() == config::Model::gpt2;
  const std::int64_t hidden = model.hidden_size();
  if (!model.has_kv_heads()) model.set_kv_heads(model.heads());
  if (!model.has_head_dim() && hidden % model.heads() == 0) model.set_head_dim(model.hidden_size() / model.heads());
  if (!model.has_ffn_size())
    derive(model, &config::Model::set_ffn_size, gpt2 ? 4 * hidden : rounded_up((8 * hidden + 2) / 3, 256));
  if (!model.has_tied_embeddings()) model.set_tied_embeddings(gpt2);
}

// The data set may not be there yet: a configuration can be checked before its data is prepared.
void resolve_vocabulary(config::Run& run, const Sources& sources, Problems& problems) {
  std::error_code ignored;
  if (!run.data().has_path() ||
      !std::filesystem::exists(std::filesystem::path(run.data().path()) / kManifestFile, ignored))
    return;
  const std::int64_t tokens = read_manifest(run.data().path()).vocab_size;
  if (!run.model().has_vocab_size()) {
    derive(*run.mutable_model(), &config::Model::set_vocab_size, rounded_up(tokens, kVocabularyMultiple));
  } else if (!problems.concerns("model.vocab_size") && run.model().vocab_size() < tokens) {
    problems.add(sources.of("model.vocab_size"), "model.vocab_size",
                 std::to_string(run.model().vocab_size()) + " is too small for the data set " + run.data().path() +
                     ", which has " + std::to_string(tokens) +
                     " different tokens; leave it out, or write at least that");
  }
}

void resolve_dp(config::Run& run, std::optional<int> ranks) {
  config::Mesh& mesh = *run.mutable_mesh();
  const std::int64_t others = std::int64_t{mesh.pp()} * mesh.cp() * mesh.tp();
  if (!mesh.has_dp() && ranks && *ranks % others == 0) mesh.set_dp(static_cast<std::int32_t>(*ranks / others));
}

}  // namespace

void resolve(config::Run& run, std::optional<int> ranks, const Sources& sources, Problems& problems) {
  if (run.model().has_from()) {
    const HuggingFaceModel theirs = read_hugging_face_directory(run.model().from(), problems);
    merge_hugging_face_model(theirs.model, run, sources, problems);
  }
  derive_model(*run.mutable_model());
  if (!run.optimizer().has_min_learning_rate() &&
      run.optimizer().learning_rate() < run.optimizer().min_learning_rate()) {
    run.mutable_optimizer()->set_min_learning_rate(run.optimizer().learning_rate());
  }
  if (!run.train().has_exact_groups()) {  // the default, or the nearest below it that the batch can be cut into
    run.mutable_train()->set_exact_groups(std::gcd(run.train().exact_groups(), run.train().global_batch()));
  }
  if (!problems.concerns("data.path")) resolve_vocabulary(run, sources, problems);
  resolve_dp(run, ranks);
  if (run.recompute().empty()) run.add_recompute(config::none);
  for (const Field& field : all_fields()) {
    if (!has_value(run, field) && field.descriptor->has_default_value()) set_to_default(run, field);
  }
}

}  // namespace trireme
