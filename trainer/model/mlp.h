// The two feed-forward halves of a block: GELU (GPT-2) and SwiGLU (Llama). One interface.
#pragma once

#include <string>

#include "trainer/model/linear.h"

namespace trireme {

class GeluMlp {
 public:
  // Until backward_input: u, g. From then until backward_weight: g, du.
  struct Saved {
    ArenaTensor u;  // [R, F]: before the GELU
    ArenaTensor g;  // [R, F]: after
    ArenaTensor du;
    Linear::Saved up, down;
  };

  GeluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size, float init_std,
          float out_init_std);

  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const;  // [R, C] -> [R, C]
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  Linear up_, down_;
};

class SwigluMlp {
 public:
  // Until backward_input: gate_up, g. From then until backward_weight: g, d_gate_up.
  struct Saved {
    ArenaTensor gate_up;  // [R, 2, F]
    ArenaTensor g;        // [R, F]
    ArenaTensor d_gate_up;
    Linear::Saved up, down;
  };

  SwigluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size, float init_std,
            float out_init_std);

  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const;
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  Linear gate_up_, down_;
};

}  // namespace trireme
