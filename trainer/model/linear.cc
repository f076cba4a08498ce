#include "trainer/model/linear.h"

namespace trireme {

Linear::Linear(ParamList& list, const std::string& name, const Shape& out, const Shape& in, Bias bias, float init_std)
    : out_(out), has_bias_(bias == Bias::kZeros) {
  Shape shape = out;
  for (int dim = 0; dim < in.dims(); ++dim) shape.append(in[dim]);
  weight_ = list.declare({.name = name + ".weight",
                          .shape = shape,
                          .row_dims = out.dims(),
                          .init = {Init::Kind::kNormal, init_std},
                          .decayed = true});
  if (has_bias_) bias_ = list.declare({.name = name + ".bias", .shape = out, .row_dims = 0});
}

ArenaTensor Linear::forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const {
  saved.x = x;
  ArenaTensor y = pass.activation(with_rows(x.size(0), out_));
  const Tensor w = pass.value(weight_).view(pass.parameters->spec(weight_).matrix());
  const Tensor bias = has_bias_ ? pass.value(bias_).view({out_.elements()}) : Tensor{};
  for (const RowSpan& span : pass.batch->spans) {
    const Tensor added = residual.given() ? as_matrix(residual).rows(span.begin, span.end) : Tensor{};
    pass.ops().linear_forward(pass.stream(), as_matrix(y).rows(span.begin, span.end),
                              as_matrix(x).rows(span.begin, span.end), w, bias, added, pass.order);
  }
  return y;
}

void Linear::backward_input(const Pass& pass, Tensor dx, Tensor dy, Saved& saved, Write write) const {
  saved.dy = dy;
  const Tensor w = pass.value(weight_).view(pass.parameters->spec(weight_).matrix());
  for (const RowSpan& span : pass.batch->spans)
    pass.ops().linear_backward_input(pass.stream(), as_matrix(dx).rows(span.begin, span.end),
                                     as_matrix(dy).rows(span.begin, span.end), w, write, pass.order);
}

void Linear::backward_weight(const Pass& pass, Saved& saved) const {
  const Shape matrix = pass.parameters->spec(weight_).matrix();
  for (const RowSpan& span : pass.batch->spans) {
    const Tensor dw = pass.gradient(weight_, span).view(matrix);
    const Tensor dbias = has_bias_ ? pass.gradient(bias_, span).view({out_.elements()}) : Tensor{};
    pass.ops().linear_backward_weight(pass.stream(), dw, dbias, as_matrix(saved.dy).rows(span.begin, span.end),
                                      as_matrix(saved.x).rows(span.begin, span.end), pass.order);
  }
  saved = {};
  pass.accumulated(weight_);
  if (has_bias_) pass.accumulated(bias_);
}

}  // namespace trireme
