#include "trainer/model/mlp.h"

namespace trireme {

GeluMlp::GeluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size,
                 float init_std, float out_init_std)
    : up_(list, name + ".up", {ffn_size}, {hidden_size}, Linear::Bias::kZeros, init_std),
      down_(list, name + ".down", {hidden_size}, {ffn_size}, Linear::Bias::kZeros, out_init_std) {}

ArenaTensor GeluMlp::forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const {
  saved.u = up_.forward(pass, x, saved.up);
  saved.g = pass.activation(saved.u->shape);
  pass.ops().gelu_forward(pass.stream(), saved.g, saved.u);
  return down_.forward(pass, saved.g, saved.down, residual);
}

ArenaTensor GeluMlp::backward_input(const Pass& pass, Tensor dy, Saved& saved) const {
  saved.du = pass.activation(saved.u->shape);
  down_.backward_input(pass, saved.du, dy, saved.down);
  pass.ops().gelu_backward(pass.stream(), saved.du, saved.du, saved.u);
  saved.u = {};
  ArenaTensor dx = pass.activation(saved.up.x.shape);
  up_.backward_input(pass, dx, saved.du, saved.up);
  return dx;
}

void GeluMlp::backward_weight(const Pass& pass, Saved& saved) const {
  down_.backward_weight(pass, saved.down);
  up_.backward_weight(pass, saved.up);
  saved = {};
}

SwigluMlp::SwigluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size,
                     float init_std, float out_init_std)
    : gate_up_(list, name + ".gate_up", {2, ffn_size}, {hidden_size}, Linear::Bias::kNone, init_std),
      down_(list, name + ".down", {hidden_size}, {ffn_size}, Linear::Bias::kNone, out_init_std) {}

ArenaTensor SwigluMlp::forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const {
  saved.gate_up = gate_up_.forward(pass, x, saved.up);
  saved.g = pass.activation({x.size(0), saved.gate_up->size(2)});
  pass.ops().swiglu_forward(pass.stream(), saved.g, saved.gate_up);
  return down_.forward(pass, saved.g, saved.down, residual);
}

ArenaTensor SwigluMlp::backward_input(const Pass& pass, Tensor dy, Saved& saved) const {
  saved.d_gate_up = pass.activation(saved.gate_up->shape);
  {
    const ArenaTensor dg = pass.activation(saved.g->shape);
    down_.backward_input(pass, dg, dy, saved.down);
    pass.ops().swiglu_backward(pass.stream(), saved.d_gate_up, dg, saved.gate_up);
  }
  saved.gate_up = {};
  ArenaTensor dx = pass.activation(saved.up.x.shape);
  gate_up_.backward_input(pass, dx, saved.d_gate_up, saved.up);
  return dx;
}

void SwigluMlp::backward_weight(const Pass& pass, Saved& saved) const {
  down_.backward_weight(pass, saved.down);
  gate_up_.backward_weight(pass, saved.up);
  saved = {};
}

}  // namespace trireme
