#include "trainer/model/embedding.h"

#include <utility>

#include "cuda/core/philox.h"

namespace trireme {

Embedding::Embedding(ParamList& list, const std::string& name, const Options& options)
    : name_(name), sum_(name + " output"), gradient_(name + " output gradient"), options_(options) {
  const Init init{Init::Kind::kNormal, options.init_std};
  list.begin_unit(name + ".tokens");
  tokens_ = list.declare({.name = name + ".tokens.weight",
                          .shape = {options.vocabulary, options.hidden_size},
                          .cuts = {{0, Axis::kTp}},
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

std::int64_t Embedding::first_token(const Pass& pass) const { return pass.parameters->box(tokens_).begin[0]; }

ArenaTensor Embedding::forward(const Pass& pass) const {
  const DeviceBatch& batch = *pass.batch;
  PartialRows found = pass.partial(options_.hidden_size);
  pass.ops().embedding_forward(pass.stream(), found, batch.tokens, pass.value(tokens_), first_token(pass),
                               Write::kOverwrite);
  ArenaTensor y = pass.sum(std::move(found), sum_);
  if (options_.learned_positions)
    pass.ops().embedding_forward(pass.stream(), y, batch.held_positions(), pass.value(positions_), 0, Write::kAdd);
  const Dropout drop = dropout(pass);
  if (drop.probability > 0) pass.ops().dropout(pass.stream(), y, y, {}, drop, batch.held_ids());
  return y;
}

void Embedding::backward_input(const Pass& pass, ArenaTensor dy, Saved& saved) const {
  saved.dy = std::move(dy);
  const Dropout drop = dropout(pass);
  if (drop.probability > 0) pass.ops().dropout(pass.stream(), saved.dy, saved.dy, {}, drop, pass.batch->held_ids());
}

void Embedding::backward_weight(const Pass& pass, Saved& saved) const {
  const DeviceBatch& batch = *pass.batch;
  if (options_.learned_positions)
    for (const RowSpan& span : batch.held_spans())
      pass.ops().embedding_backward(pass.stream(), pass.gradient(positions_, span),
                                    batch.held_positions().rows(span.begin, span.end),
                                    saved.dy->rows(span.begin, span.end), 0);
  const GatheredRows dy = pass.gather(saved.dy, gradient_);
  for (const RowSpan& span : batch.spans)
    pass.ops().embedding_backward(pass.stream(), pass.gradient(tokens_, span), batch.tokens.rows(span.begin, span.end),
                                  dy->rows(span.begin, span.end), first_token(pass));
  saved = {};
  if (options_.learned_positions) pass.accumulated(positions_);
  pass.accumulated(tokens_);
}

}  // namespace trireme
