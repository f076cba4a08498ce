#include "trainer/model/head.h"

#include <algorithm>
#include <utility>

namespace trireme {

template <class Norm>
Head<Norm>::Head(ParamList& list, std::int64_t vocabulary, std::int64_t hidden_size, float norm_epsilon, float init_std,
                 const std::string& tied_to, const LossOptions& options)
    : norm_(list, "final_norm", hidden_size, norm_epsilon),
      vocabulary_(vocabulary),
      options_(options),
      calls_("head"),
      statistics_("head statistics") {
  list.begin_unit("head");
  weight_ = list.declare({.name = "head.weight",
                          .shape = {vocabulary, hidden_size},
                          .cuts = {{0, Axis::kTp}},
                          .init = {Init::Kind::kNormal, init_std},
                          .decayed = true,
                          .tied_to = tied_to});
}

template <class Norm>
CrossEntropy Head<Norm>::cross_entropy(const Pass& pass) const {
  const Box& box = pass.parameters->box(weight_);
  return {.first_column = box.begin[0],
          .valid_columns = box.size[0],
          .vocabulary = vocabulary_,
          .label_smoothing = options_.label_smoothing,
          .z_loss = options_.z_loss};
}

// use(logits [r, V], statistics [r, 4], rows [begin, end), span): span by span, so that chunks do not straddle spans.
template <class Norm>
template <class Use>
void Head<Norm>::for_each_chunk(const Pass& pass, Tensor m, Use use) const {
  const DeviceBatch& batch = *pass.batch;
  std::int64_t longest = 0;
  for (const RowSpan& span : batch.spans)
    longest = std::max(longest, std::min(options_.chunk_rows, span.end - span.begin));
  const CrossEntropy cut = cross_entropy(pass);
  const ArenaTensor logits = pass.context->arena->allocate({longest, cut.valid_columns}, DType::kF32, "logits");
  const ArenaTensor statistics = pass.statistic({longest, 4});
  for (const RowSpan& span : batch.spans)
    for (std::int64_t begin = span.begin; begin < span.end; begin += options_.chunk_rows) {
      const std::int64_t end = std::min(begin + options_.chunk_rows, span.end);
      const Tensor chunk = logits->rows(0, end - begin);
      const Tensor chunk_statistics = statistics->rows(0, end - begin);
      pass.ops().linear_forward(pass.stream(), chunk, m.rows(begin, end), pass.value(weight_), {}, {}, pass.order);
      pass.ops().cross_entropy_statistics(pass.stream(), chunk_statistics, chunk, batch.targets.rows(begin, end), cut);
      if (!pass.tensor.alone()) {
        const ArenaTensor parts = pass.tensor.gather_parts(*pass.context, chunk_statistics, {pass.step, statistics_});
        pass.ops().cross_entropy_merge(pass.stream(), chunk_statistics, parts);
      }
      use(chunk, chunk_statistics, begin, end, span);
    }
}

template <class Norm>
void Head<Norm>::forward(const Pass& pass, ArenaTensor x, Saved& saved) const {
  saved.x = std::move(x);
  saved.m = norm_.forward(pass, saved.x, saved.norm);
}

template <class Norm>
ArenaTensor Head<Norm>::backward_input(const Pass& pass, Saved& saved) const {
  const DeviceBatch& batch = *pass.batch;
  const CrossEntropy cut = cross_entropy(pass);
  const GatheredRows m = pass.gather(saved.m, calls_.x);
  PartialRows dm = pass.partial(saved.m->size(1));
  const ArenaTensor losses = pass.statistic({options_.chunk_rows});
  // In reduced precision the gradient of the logits is rounded once, into a chunk of its own; in fp32 it replaces them.
  const bool reduced = pass.parameters->dtype() != DType::kF32;
  ArenaTensor rounded;
  if (reduced)
    rounded = pass.context->arena->allocate({std::min(options_.chunk_rows, batch.rows), cut.valid_columns},
                                            pass.parameters->dtype(), "logits");
  for_each_chunk(pass, m,
                 [&](Tensor logits, Tensor statistics, std::int64_t begin, std::int64_t end, const RowSpan& span) {
                   const Tensor targets = batch.targets.rows(begin, end);
                   const Tensor weights = batch.weights.rows(begin, end);
                   const Tensor loss = losses->rows(0, end - begin);
                   const Tensor dlogits = reduced ? rounded->rows(0, end - begin) : logits;
                   pass.ops().cross_entropy_loss(pass.stream(), loss, statistics, weights, cut);
                   pass.ops().add_sum(pass.stream(), pass.loss.rows(span.group, span.group + 1), loss);
                   pass.ops().cross_entropy_backward(pass.stream(), dlogits, logits, statistics, targets, weights,
                                                     pass.gradient_scale, cut);
                   pass.ops().linear_backward_input(pass.stream(), dm->rows(begin, end), dlogits, pass.value(weight_),
                                                    Write::kOverwrite, pass.order);
                   pass.ops().linear_backward_weight(pass.stream(), pass.gradient(weight_, span), {}, dlogits,
                                                     m->rows(begin, end), pass.order);
                 });
  saved.m = {};
  saved.dm = pass.sum(std::move(dm), calls_.dx);
  pass.accumulated(weight_);
  return norm_.backward_input(pass, saved.dm, {}, saved.norm);
}

template <class Norm>
void Head<Norm>::backward_weight(const Pass& pass, Saved& saved) const {
  norm_.backward_weight(pass, saved.norm);
  saved = {};
}

template <class Norm>
void Head<Norm>::evaluate(const Pass& pass, ArenaTensor x) const {
  typename Norm::Saved unused;
  const ArenaTensor held = norm_.forward(pass, x, unused);
  const GatheredRows m = pass.gather(held, calls_.x);
  const ArenaTensor losses = pass.statistic({options_.chunk_rows});
  CrossEntropy plain = cross_entropy(pass);
  plain.label_smoothing = 0;
  plain.z_loss = 0;
  for_each_chunk(pass, m, [&](Tensor, Tensor statistics, std::int64_t begin, std::int64_t end, const RowSpan& span) {
    const Tensor loss = losses->rows(0, end - begin);
    pass.ops().cross_entropy_loss(pass.stream(), loss, statistics, pass.batch->weights.rows(begin, end), plain);
    pass.ops().add_sum(pass.stream(), pass.loss.rows(span.group, span.group + 1), loss);
  });
}

template <class Norm>
ArenaTensor Head<Norm>::logits(const Pass& pass, Tensor x) const {
  typename Norm::Saved unused;
  const ArenaTensor m = norm_.forward(pass, x, unused);
  ArenaTensor logits = pass.context->arena->allocate({x.size(0), vocabulary_}, DType::kF32, "logits");
  pass.ops().linear_forward(pass.stream(), logits, m, pass.value(weight_), {}, {}, pass.order);
  return logits;
}

template class Head<LayerNorm>;
template class Head<RmsNorm>;

}  // namespace trireme
