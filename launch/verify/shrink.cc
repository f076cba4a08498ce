#include "launch/verify/shrink.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "launch/config/fields.h"
#include "launch/train/experiment.h"

namespace trireme {
namespace {

// Sets fields by their setters and notes what changed.
class Shrinking {
 public:
  explicit Shrinking(const config::Run& run) { shrunk_.run = run; }

  config::Run& run() { return shrunk_.run; }
  template <class Message, class Value>
  void set(const char* field, Message* message, Value (Message::*get)() const, void (Message::*put)(Value), Value to) {
    const Value from = (message->*get)();
    if (from == to) return;
    (message->*put)(to);
    shrunk_.changes.push_back({field, fmt::format("{}", from), fmt::format("{}", to)});
  }
  void note(std::string field, std::string from, std::string to) {
    shrunk_.changes.push_back({std::move(field), std::move(from), std::move(to)});
  }
  Shrunk take() { return std::move(shrunk_); }

 private:
  Shrunk shrunk_;
};

// `small`, or one more if `size` does not divide by `parts`: what was uneven stays so.
int small_like(int size, int parts, int small) { return std::min(size, small + (size % parts == 0 ? 0 : 1)); }

void shrink_recomputation(Shrinking& shrinking) {
  config::Run& run = shrinking.run();
  if (run.recompute_size() == 1 || run.recompute_size() == run.mesh().pp()) return;
  const std::string before = value_text(run, *find_field("recompute"));
  const Recomputation after = recomputation_of(run).over(run.mesh().pp());
  run.clear_recompute();
  for (const config::Recompute choice : after.choices()) run.add_recompute(choice);
  shrinking.note("recompute", before, to_string(after));
}

void shrink_mesh(Shrinking& shrinking) {
  using config::Mesh;
  Mesh* mesh = shrinking.run().mutable_mesh();
  shrinking.set("mesh.dp", mesh, &Mesh::dp, &Mesh::set_dp, std::min(mesh->dp(), 2));
  shrinking.set("mesh.pp", mesh, &Mesh::pp, &Mesh::set_pp, std::min(mesh->pp(), 3));
  shrinking.set("mesh.tp", mesh, &Mesh::tp, &Mesh::set_tp, std::min(mesh->tp(), 2));
  using config::Pipeline;
  Pipeline* pipeline = shrinking.run().mutable_pipeline();
  shrinking.set("pipeline.chunks", pipeline, &Pipeline::chunks, &Pipeline::set_chunks, std::min(pipeline->chunks(), 2));
  shrink_recomputation(shrinking);
}

void shrink_model(Shrinking& shrinking, const config::Run& was) {
  using config::Model;
  const config::Run& now = shrinking.run();
  const Model& before = was.model();
  Model* model = shrinking.run().mutable_model();
  const int tp = now.mesh().tp();
  const int stages = now.mesh().pp() * now.pipeline().chunks();
  const int layers = std::max(2, small_like(before.layers(), was.mesh().pp() * was.pipeline().chunks(), stages));
  // KV heads fewer than tp stay so; queries share them, or do not, as before.
  const int kv_heads = before.kv_heads() < was.mesh().tp() ? 1 : std::min(before.kv_heads(), 2 * tp);
  const int sharing = std::min(before.heads() / before.kv_heads(), kv_heads < tp ? 2 * tp : 2);
  const int heads = kv_heads * sharing;
  const int head_dim = std::min(before.head_dim(), 8);
  shrinking.set("model.layers", model, &Model::layers, &Model::set_layers, std::min(before.layers(), layers));
  shrinking.set("model.kv_heads", model, &Model::kv_heads, &Model::set_kv_heads, kv_heads);
  shrinking.set("model.heads", model, &Model::heads, &Model::set_heads, heads);
  shrinking.set("model.head_dim", model, &Model::head_dim, &Model::set_head_dim, head_dim);
  shrinking.set("model.hidden_size", model, &Model::hidden_size, &Model::set_hidden_size,
                std::min(before.hidden_size(), std::max(16, heads * head_dim)));
  shrinking.set("model.ffn_size", model, &Model::ffn_size, &Model::set_ffn_size,
                small_like(before.ffn_size(), was.mesh().tp(), 40));
  shrinking.set("model.vocab_size", model, &Model::vocab_size, &Model::set_vocab_size,
                small_like(before.vocab_size(), was.mesh().tp(), 96));
  shrinking.set("model.sequence_length", model, &Model::sequence_length, &Model::set_sequence_length,
                std::min(before.sequence_length(), 16));
  // Small weights would leave nothing to tell apart.
  shrinking.set("model.init_std", model, &Model::init_std, &Model::set_init_std, std::max(before.init_std(), 0.2));
}

void shrink_batch(Shrinking& shrinking, const config::Run& was) {
  using config::Train;
  const config::Run& now = shrinking.run();
  Train* train = shrinking.run().mutable_train();
  const int dp = now.mesh().dp();
  const int pp = now.mesh().pp();
  const int micro_batch = std::min(was.train().micro_batch(), 2);
  const int before = std::max(1, was.train().global_batch() / was.mesh().dp() / was.train().micro_batch());
  int micro_batches = std::min(before, 2);
  if (was.mesh().pp() > 1)
    micro_batches = before < was.mesh().pp() ? std::min(before, pp - 1) : std::min(before, pp + 1);
  if (now.pipeline().schedule() == config::Pipeline::interleaved_1f1b) micro_batches = 2 * pp;
  shrinking.set("train.micro_batch", train, &Train::micro_batch, &Train::set_micro_batch, micro_batch);
  shrinking.set("train.global_batch", train, &Train::global_batch, &Train::set_global_batch,
                dp * micro_batches * micro_batch);
  shrinking.set("train.exact_groups", train, &Train::exact_groups, &Train::set_exact_groups,
                std::gcd(8, train->global_batch()));
  shrinking.set("train.loss_chunk_rows", train, &Train::loss_chunk_rows, &Train::set_loss_chunk_rows,
                std::min(was.train().loss_chunk_rows(), 7));
  using config::Optimizer;
  Optimizer* optimizer = shrinking.run().mutable_optimizer();
  shrinking.set("optimizer.warmup_steps", optimizer, &Optimizer::warmup_steps, &Optimizer::set_warmup_steps,
                std::min<std::int64_t>(was.optimizer().warmup_steps(), 1));
}

// A scale that few tokens do not overflow, and that moves within the steps of a trial.
void shrink_loss_scale(Shrinking& shrinking) {
  if (shrinking.run().train().precision() != config::fp16) return;
  using config::LossScale;
  LossScale* scale = shrinking.run().mutable_loss_scale();
  shrinking.set("loss_scale.min", scale, &LossScale::min, &LossScale::set_min, std::min(scale->min(), 1024.0));
  shrinking.set("loss_scale.initial", scale, &LossScale::initial, &LossScale::set_initial,
                std::min(scale->initial(), 1024.0));
  shrinking.set("loss_scale.growth_interval", scale, &LossScale::growth_interval, &LossScale::set_growth_interval,
                std::int64_t{2});
}

}  // namespace

Shrunk shrink(const config::Run& run) {
  Shrinking shrinking(run);
  shrink_mesh(shrinking);
  shrink_model(shrinking, run);
  shrink_batch(shrinking, run);
  shrink_loss_scale(shrinking);
  return shrinking.take();
}

Shrunk with_bounded_optimizer(Shrunk shrunk) {
  config::Run& run = shrunk.run;
  run.set_numerics(config::fast);
  run.mutable_train()->set_precision(config::fp32);
  run.mutable_optimizer()->set_epsilon(1);
  run.mutable_optimizer()->set_learning_rate(0.1);
  run.mutable_optimizer()->set_min_learning_rate(0.1);
  return shrunk;
}

}  // namespace trireme
