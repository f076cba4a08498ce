#include "trainer/model/mlp.h"

#include <utility>

namespace trireme {

GeluMlp::GeluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size,
                 float init_std, float out_init_std)
    : up_(list, name + ".up", {ffn_size}, {hidden_size}, Linear::Bias::kZeros, init_std, {0, Axis::kTp}),
      down_(list, name + ".down", {hidden_size}, {ffn_size}, Linear::Bias::kZeros, out_init_std, {1, Axis::kTp}),
      calls_(name) {}

ArenaTensor GeluMlp::forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const {
  saved.x = x;
  saved.u = up_.forward(pass, pass.gather(x, calls_.x));
  saved.g = pass.activation(saved.u->shape);
  pass.ops().gelu_forward(pass.stream(), saved.g, saved.u);
  return down_.forward(pass, saved.g, residual);
}

ArenaTensor GeluMlp::backward_input(const Pass& pass, Tensor dy, Saved& saved) const {
  saved.dy = pass.gather(dy, calls_.dy);
  saved.du = pass.activation(saved.u->shape);
  down_.backward_input(pass, saved.du, saved.dy);
  pass.ops().gelu_backward(pass.stream(), saved.du, saved.du, saved.u);
  saved.u = {};
  PartialRows dx = pass.partial(saved.x.size(1));
  up_.backward_input(pass, dx, saved.du);
  return pass.sum(std::move(dx), calls_.dx);
}

void GeluMlp::backward_weight(const Pass& pass, Saved& saved) const {
  down_.backward_weight(pass, saved.dy, saved.g);
  up_.backward_weight(pass, saved.du, pass.gather(saved.x, calls_.again));
  saved = {};
}

SwigluMlp::SwigluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size,
                     float init_std, float out_init_std)
    : gate_up_(list, name + ".gate_up", {2, ffn_size}, {hidden_size}, Linear::Bias::kNone, init_std, {1, Axis::kTp}),
      down_(list, name + ".down", {hidden_size}, {ffn_size}, Linear::Bias::kNone, out_init_std, {1, Axis::kTp}),
      calls_(name) {}

ArenaTensor SwigluMlp::forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const {
  saved.x = x;
  saved.gate_up = gate_up_.forward(pass, pass.gather(x, calls_.x));
  saved.g = pass.activation({saved.gate_up->size(0), saved.gate_up->size(2)});
  pass.ops().swiglu_forward(pass.stream(), saved.g, saved.gate_up);
  return down_.forward(pass, saved.g, residual);
}

ArenaTensor SwigluMlp::backward_input(const Pass& pass, Tensor dy, Saved& saved) const {
  saved.dy = pass.gather(dy, calls_.dy);
  saved.d_gate_up = pass.activation(saved.gate_up->shape);
  {
    const ArenaTensor dg = pass.activation(saved.g->shape);
    down_.backward_input(pass, dg, saved.dy);
    pass.ops().swiglu_backward(pass.stream(), saved.d_gate_up, dg, saved.gate_up);
  }
  saved.gate_up = {};
  PartialRows dx = pass.partial(saved.x.size(1));
  gate_up_.backward_input(pass, dx, saved.d_gate_up);
  return pass.sum(std::move(dx), calls_.dx);
}

void SwigluMlp::backward_weight(const Pass& pass, Saved& saved) const {
  down_.backward_weight(pass, saved.dy, saved.g);
  gate_up_.backward_weight(pass, saved.d_gate_up, pass.gather(saved.x, calls_.again));
  saved = {};
}

}  // namespace trireme
