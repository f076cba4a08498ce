#include "trainer/model/linear.h"

#include <utility>

namespace trireme {

Linear::Linear(ParamList& list, const std::string& name, const Shape& out, const Shape& in, Bias bias, float init_std,
               const Cut& cut)
    : out_(out), cuts_inputs_(cut.dim >= out.dims()), sum_(name + " output"), has_bias_(bias == Bias::kZeros) {
  CHECK(!cuts_inputs_ || out.dims() == 1, name, " is cut by inputs and has outputs ", to_string(out));
  Shape shape = out;
  for (int dim = 0; dim < in.dims(); ++dim) shape.append(in[dim]);
  weight_ = list.declare({.name = name + ".weight",
                          .shape = shape,
                          .row_dims = out.dims(),
                          .cuts = {cut},
                          .init = {Init::Kind::kNormal, init_std},
                          .decayed = true});
  if (!has_bias_) return;
  ParamSpec spec{.name = name + ".bias", .shape = out, .row_dims = 0};
  if (!cuts_inputs_) spec.cuts = {cut};
  bias_ = list.declare(std::move(spec));
}

Tensor Linear::matrix(Tensor weight) const {
  std::int64_t rows = 1;
  for (int dim = 0; dim < out_.dims(); ++dim) rows *= weight.size(dim);
  return weight.view({rows, weight.elements() / rows});
}

Tensor Linear::bias(const Pass& pass) const {
  if (!has_bias_) return {};
  const Tensor bias = pass.value(bias_);
  return bias.view({bias.elements()});
}

ArenaTensor Linear::forward(const Pass& pass, Tensor x, Tensor residual) const {
  const Tensor weight = pass.value(weight_);
  const Tensor w = matrix(weight);
  if (sums_outputs(pass)) {
    PartialRows y = pass.partial(out_[0]);
    for (const RowSpan& span : pass.batch->spans)
      pass.ops().linear_forward(pass.stream(), y->rows(span.begin, span.end), as_matrix(x).rows(span.begin, span.end),
                                w, {}, {}, pass.order);
    return pass.sum(std::move(y), sum_, bias(pass), residual);
  }
  Shape out;
  for (int dim = 0; dim < out_.dims(); ++dim) out.append(weight.size(dim));
  ArenaTensor y = pass.activation(with_rows(x.size(0), out));
  for (const RowSpan& span : pass.batch->spans) {
    const Tensor added = residual.given() ? as_matrix(residual).rows(span.begin, span.end) : Tensor{};
    pass.ops().linear_forward(pass.stream(), as_matrix(y).rows(span.begin, span.end),
                              as_matrix(x).rows(span.begin, span.end), w, bias(pass), added, pass.order);
  }
  return y;
}

void Linear::backward_input(const Pass& pass, Tensor dx, Tensor dy, Write write) const {
  const Tensor w = matrix(pass.value(weight_));
  for (const RowSpan& span : pass.batch->spans)
    pass.ops().linear_backward_input(pass.stream(), as_matrix(dx).rows(span.begin, span.end),
                                     as_matrix(dy).rows(span.begin, span.end), w, write, pass.order);
}

// Every rank holds the whole bias of a sum over ranks, and gives it the gradient of the rows that it holds: the ranks'
// gradients are added with those of all parameters that tensor parallelism does not cut.
void Linear::backward_weight(const Pass& pass, Tensor dy, Tensor x) const {
  for (const RowSpan& span : pass.batch->spans) {
    const Tensor rows = as_matrix(dy).rows(span.begin, span.end);
    const Tensor dw = matrix(pass.gradient(weight_, span));
    const Tensor dbias = has_bias_ ? pass.gradient(bias_, span) : Tensor{};
    const Tensor flat = has_bias_ ? dbias.view({dbias.elements()}) : Tensor{};
    pass.ops().linear_backward_weight(pass.stream(), dw, sums_outputs(pass) ? Tensor{} : flat, rows,
                                      as_matrix(x).rows(span.begin, span.end), pass.order);
    if (!has_bias_ || !sums_outputs(pass)) continue;
    const RowRange here = intersect({span.begin, span.end}, pass.tensor.held(pass.batch->rows));
    if (here.size() > 0)
      pass.ops().linear_backward_weight(pass.stream(), {}, flat, as_matrix(dy).rows(here.begin, here.end), {},
                                        pass.order);
  }
  pass.accumulated(weight_);
  if (has_bias_) pass.accumulated(bias_);
}

}  // namespace trireme
