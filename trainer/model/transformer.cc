#include "trainer/model/transformer.h"

#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/hugging_face.h"

namespace trireme {
namespace {

template <class Norm, class Mlp>
class TransformerStage : public Stage {
 public:
  TransformerStage(const config::Model& model, const SelfAttention::Options& attention, const LossOptions& loss,
                   const StageSlice& slice, ParamList& list, config::Recompute recompute)
      : hidden_size_(model.hidden_size()) {
    const auto dropout = static_cast<float>(model.dropout());
    const auto epsilon = static_cast<float>(model.norm_epsilon());
    const auto declared_by = [&list](const auto& construct) {
      const ParamIndex first = list.count();
      construct();
      return ParamRange{first, list.count()};
    };
    if (slice.has_embedding) {
      Embedding::Options options{.vocabulary = model.vocab_size(),
                                 .hidden_size = model.hidden_size(),
                                 .learned_positions = {},
                                 .dropout = dropout,
                                 .init_std = attention.init_std};
      if (model.family() == config::Model::gpt2) options.learned_positions = model.sequence_length();
      embedding_params_ = declared_by([&] { embedding_.emplace(list, "embedding", options); });
    }
    for (int layer = slice.first_block; layer < slice.last_block; ++layer) {
      const std::string name = "layers." + std::to_string(layer);
      list.begin_unit(name);
      block_params_.push_back(declared_by(
          [&] { blocks_.emplace_back(list, name, attention, model.ffn_size(), epsilon, dropout, recompute); }));
    }
    list.begin_unit("final_norm");
    if (slice.has_head)
      head_params_ = declared_by([&] {
        head_.emplace(list, model.vocab_size(), model.hidden_size(), epsilon, attention.init_std,
                      model.tied_embeddings() ? kTokenTable : "", loss);
      });
  }

  Shape boundary_shape(const Pass& pass) const override { return {pass.tensor.share(pass.batch->rows), hidden_size_}; }

  ArenaTensor forward(const Pass& pass, int micro_batch, ArenaTensor x) override {
    Saved& saved = saved_[micro_batch];
    saved.blocks.resize(blocks_.size());
    x = through_blocks(pass, std::move(x), [&](std::size_t i, ArenaTensor in) {
      return blocks_[i].forward(pass, std::move(in), saved.blocks[i]);
    });
    if (!head_) return x;
    const auto held = pass.parameters->hold(head_params_, head_params_);
    head_->forward(pass, std::move(x), saved.head);
    return {};
  }

  ArenaTensor backward_input(const Pass& pass, int micro_batch, ArenaTensor dy) override {
    Saved& saved = saved_of(micro_batch);
    return back_through(pass, std::move(dy), saved, [](const auto&, auto&) {});
  }

  void backward_weight(const Pass& pass, int micro_batch) override {
    Saved& saved = saved_of(micro_batch);
    if (head_) head_->backward_weight(pass, saved.head);
    for (std::size_t i = blocks_.size(); i-- > 0;) blocks_[i].backward_weight(pass, saved.blocks[i]);
    if (embedding_) embedding_->backward_weight(pass, saved.embedding);
    saved_.erase(micro_batch);
  }

  ArenaTensor backward(const Pass& pass, int micro_batch, ArenaTensor dy) override {
    Saved& saved = saved_of(micro_batch);
    dy = back_through(pass, std::move(dy), saved,
                      [&](const auto& layer, auto& of_layer) { layer.backward_weight(pass, of_layer); });
    saved_.erase(micro_batch);
    return dy;
  }

  ArenaTensor evaluate(const Pass& pass, ArenaTensor x) override {
    x = through_blocks(pass, std::move(x), [&](std::size_t i, ArenaTensor in) {
      typename Block<Norm, Mlp>::Saved unused;
      return blocks_[i].forward(pass, std::move(in), unused);
    });
    if (!head_) return x;
    const auto held = pass.parameters->hold(head_params_);
    head_->evaluate(pass, std::move(x));
    return {};
  }

  KvCaches make_caches(Context& context, DType dtype, std::int64_t rows) const override {
    KvCaches caches(blocks_.size());
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      caches[i].kv = context.arena->allocate(with_rows(rows, blocks_[i].kv_row()), dtype, "key-value cache");
    return caches;
  }

  ArenaTensor extend(const Pass& pass, ArenaTensor x, KvCaches& caches) override {
    x = through_blocks(pass, std::move(x), [&](std::size_t i, ArenaTensor in) {
      return blocks_[i].extend(pass, std::move(in), caches[i]);
    });
    if (!head_) return x;
    const auto held = pass.parameters->hold(head_params_);
    return head_->logits(pass, x->rows(x->size(0) - 1, x->size(0)));
  }

 private:
  struct Saved {
    std::vector<typename Block<Norm, Mlp>::Saved> blocks;
    Embedding::Saved embedding;
    typename Head<Norm>::Saved head;
  };

  Saved& saved_of(int micro_batch) {
    const auto found = saved_.find(micro_batch);
    CHECK(found != saved_.end(), "micro-batch ", micro_batch, " has not been forward");
    return found->second;
  }

  std::int64_t hidden_size_;
  // The parameters that the forward pass wants after the first `blocks` blocks.
  ParamRange after(std::size_t blocks) const { return blocks < blocks_.size() ? block_params_[blocks] : head_params_; }

  // The embedding, if it is here, and the blocks: run(i, input of block i).
  template <class Run>
  ArenaTensor through_blocks(const Pass& pass, ArenaTensor x, Run run) const {
    if (embedding_) {
      const auto held = pass.parameters->hold(embedding_params_, after(0));
      x = embedding_->forward(pass);
    }
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const auto held = pass.parameters->hold(block_params_[i], after(i + 1));
      x = run(i, std::move(x));
    }
    return x;
  }

  // then(layer, its Saved) after the input gradient of each layer. Weight gradients, and the embedding's of its input,
  // need no values.
  template <class Then>
  ArenaTensor back_through(const Pass& pass, ArenaTensor dy, Saved& saved, Then then) {
    const auto before = [&](std::size_t i) { return i > 0 ? block_params_[i - 1] : ParamRange{}; };
    if (head_) {
      const auto held = pass.parameters->hold(head_params_, before(blocks_.size()));
      dy = head_->backward_input(pass, saved.head);
      then(*head_, saved.head);
    }
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      const auto held = pass.parameters->hold(block_params_[i], before(i));
      dy = blocks_[i].backward_input(pass, std::move(dy), saved.blocks[i]);
      then(blocks_[i], saved.blocks[i]);
    }
    if (!embedding_) return dy;
    embedding_->backward_input(pass, std::move(dy), saved.embedding);
    then(*embedding_, saved.embedding);
    return {};
  }

  std::optional<Embedding> embedding_;
  std::deque<Block<Norm, Mlp>> blocks_;
  std::optional<Head<Norm>> head_;
  ParamRange embedding_params_, head_params_;
  std::vector<ParamRange> block_params_;
  std::map<int, Saved> saved_;
};

}  // namespace

std::unique_ptr<Stage> make_stage(const config::Model& model, const LossOptions& loss, const StageSlice& slice,
                                  ParamList& list, config::Recompute recompute) {
  const auto std = static_cast<float>(model.init_std());
  SelfAttention::Options attention{.hidden_size = model.hidden_size(),
                                   .heads = model.heads(),
                                   .kv_heads = model.kv_heads(),
                                   .head_dim = model.head_dim(),
                                   .rope_theta = {},
                                   .bias = Linear::Bias::kNone,
                                   .dropout = static_cast<float>(model.attention_dropout()),
                                   .init_std = std,
                                   .out_init_std = std / std::sqrt(2.0f * static_cast<float>(model.layers()))};
  if (model.family() == config::Model::gpt2) {
    attention.bias = Linear::Bias::kZeros;
    return std::make_unique<TransformerStage<LayerNorm, GeluMlp>>(model, attention, loss, slice, list, recompute);
  }
  attention.rope_theta = model.rope_theta();
  return std::make_unique<TransformerStage<RmsNorm, SwigluMlp>>(model, attention, loss, slice, list, recompute);
}

std::vector<ParamSpec> whole_model_specs(const config::Model& model) {
  ParamList list;
  make_stage(model, {}, whole_model(model), list);
  name_files(model, list.specs());
  return list.specs();
}

double flops_per_token(const config::Model& model) {
  const double hidden = model.hidden_size();
  const double q = static_cast<double>(model.heads()) * model.head_dim();
  const double kv = 2.0 * model.kv_heads() * model.head_dim();
  const double mlp_matrices = model.family() == config::Model::gpt2 ? 2 : 3;
  const double layer = hidden * (2 * q + kv + mlp_matrices * model.ffn_size());
  const double weights = model.layers() * layer + hidden * model.vocab_size();
  return 6 * weights + 6.0 * model.layers() * q * model.sequence_length();
}

}  // namespace trireme
