#include "trainer/model/norm.h"

namespace trireme {
namespace {

ParamIndex declare_vector(ParamList& list, const std::string& name, std::int64_t size, Init::Kind init) {
  return list.declare({.name = name, .shape = {size}, .row_dims = 0, .init = {init}});
}

}  // namespace

LayerNorm::LayerNorm(ParamList& list, const std::string& name, std::int64_t size, float epsilon)
    : weight_(declare_vector(list, name + ".weight", size, Init::Kind::kOnes)),
      bias_(declare_vector(list, name + ".bias", size, Init::Kind::kZeros)),
      epsilon_(epsilon) {}

ArenaTensor LayerNorm::forward(const Pass& pass, Tensor x, Saved& saved) const {
  saved.x = x;
  saved.mean = pass.statistic({x.size(0)});
  saved.rstd = pass.statistic({x.size(0)});
  ArenaTensor y = pass.activation(x.shape);
  pass.ops().layernorm_forward(pass.stream(), y, saved.mean, saved.rstd, x, pass.value(weight_), pass.value(bias_),
                               epsilon_);
  return y;
}

ArenaTensor LayerNorm::backward_input(const Pass& pass, Tensor dy, Tensor dresidual, Saved& saved) const {
  saved.dy = dy;
  ArenaTensor dx = pass.activation(dy.shape);
  pass.ops().layernorm_backward_input(pass.stream(), dx, dy, dresidual, saved.x, saved.mean, saved.rstd,
                                      pass.value(weight_));
  return dx;
}

void LayerNorm::backward_weight(const Pass& pass, Saved& saved) const {
  for (const RowSpan& span : pass.batch->held_spans())
    pass.ops().layernorm_backward_weight(pass.stream(), pass.gradient(weight_, span), pass.gradient(bias_, span),
                                         saved.dy.rows(span.begin, span.end), saved.x.rows(span.begin, span.end),
                                         saved.mean->rows(span.begin, span.end),
                                         saved.rstd->rows(span.begin, span.end));
  saved = {};
  pass.accumulated(weight_);
  pass.accumulated(bias_);
}

RmsNorm::RmsNorm(ParamList& list, const std::string& name, std::int64_t size, float epsilon)
    : weight_(declare_vector(list, name + ".weight", size, Init::Kind::kOnes)), epsilon_(epsilon) {}

ArenaTensor RmsNorm::forward(const Pass& pass, Tensor x, Saved& saved) const {
  saved.x = x;
  saved.rstd = pass.statistic({x.size(0)});
  ArenaTensor y = pass.activation(x.shape);
  pass.ops().rmsnorm_forward(pass.stream(), y, saved.rstd, x, pass.value(weight_), epsilon_);
  return y;
}

ArenaTensor RmsNorm::backward_input(const Pass& pass, Tensor dy, Tensor dresidual, Saved& saved) const {
  saved.dy = dy;
  ArenaTensor dx = pass.activation(dy.shape);
  pass.ops().rmsnorm_backward_input(pass.stream(), dx, dy, dresidual, saved.x, saved.rstd, pass.value(weight_));
  return dx;
}

void RmsNorm::backward_weight(const Pass& pass, Saved& saved) const {
  for (const RowSpan& span : pass.batch->held_spans())
    pass.ops().rmsnorm_backward_weight(pass.stream(), pass.gradient(weight_, span), saved.dy.rows(span.begin, span.end),
                                       saved.x.rows(span.begin, span.end), saved.rstd->rows(span.begin, span.end));
  saved = {};
  pass.accumulated(weight_);
}

}  // namespace trireme
