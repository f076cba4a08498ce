#include "trainer/model/embedding.h"

#include <utility>

#include "cuda/core/philox.h"

namespace trireme {

Embedding::Embedding(ParamList& list, const std::string& name, const Options& options)
    : name_(name), options_(options) {
  const Init init{Init::Kind::kNormal, options.init_std};
  list.begin_unit(name + ".tokens");
  tokens_ = list.declare({.name = name + ".tokens.weight",
                          .shape = {options.vocabulary, options.hidden_size},
                          .init = init,
                          .decayed = true});
  if (options.learned_positions) {
    list.begin_unit(name + ".positions");
    positions_ = list.declare({.name = name + ".positions.weight",
                               .shape = {*options.learned_positions, options.hidden_size},
                               .init = init,
                               .decayed = true});
  }
}

Dropout Embedding::dropout(const Pass& pass) const {
  if (!pass.training || options_.dropout == 0) return {};
  return {options_.dropout, key_of(pass.seed, name_ + ".dropout")};
}

ArenaTensor Embedding::forward(const Pass& pass) const {
  const DeviceBatch& batch = *pass.batch;
  ArenaTensor y = pass.activation({batch.rows, options_.hidden_size});
  pass.ops().embedding_forward(pass.stream(), y, batch.tokens, pass.value(tokens_), 0, Write::kOverwrite);
  if (options_.learned_positions)
    pass.ops().embedding_forward(pass.stream(), y, batch.positions, pass.value(positions_), 0, Write::kAdd);
  const Dropout drop = dropout(pass);
  if (drop.probability > 0) pass.ops().dropout(pass.stream(), y, y, {}, drop, batch.ids);
  return y;
}

void Embedding::backward_input(const Pass& pass, ArenaTensor dy, Saved& saved) const {
  saved.dy = std::move(dy);
  const Dropout drop = dropout(pass);
  if (drop.probability > 0) pass.ops().dropout(pass.stream(), saved.dy, saved.dy, {}, drop, pass.batch->ids);
}

void Embedding::backward_weight(const Pass& pass, Saved& saved) const {
  const DeviceBatch& batch = *pass.batch;
  for (const RowSpan& span : batch.spans) {
    const Tensor dy = saved.dy->rows(span.begin, span.end);
    if (options_.learned_positions)
      pass.ops().embedding_backward(pass.stream(), pass.gradient(positions_, span),
                                    batch.positions.rows(span.begin, span.end), dy, 0);
    pass.ops().embedding_backward(pass.stream(), pass.gradient(tokens_, span), batch.tokens.rows(span.begin, span.end),
                                  dy, 0);
  }
  saved = {};
  if (options_.learned_positions) pass.accumulated(positions_);
  pass.accumulated(tokens_);
}

}  // namespace trireme
