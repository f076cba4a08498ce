// The two feed-forward halves of a block: GELU (GPT-2) and SwiGLU (Llama). One interface. Tensor parallelism cuts F,
// the features between, evenly or not.
#pragma once

#include <string>

#include "trainer/model/linear.h"

namespace trireme {

class GeluMlp {
 public:
  // Until backward_input: u, g. From then until backward_weight: g, du, dy. x is the caller's. All rows of x, which
  // would outweigh the rest, are gathered again for the weight's gradient; those of dy are kept, since it follows soon.
  struct Saved {
    Tensor x;       // [share, C]
    ArenaTensor u;  // [R, F]: before the GELU
    ArenaTensor g;  // [R, F]: after
    ArenaTensor du;
    GatheredRows dy;  // [R, C]
  };

  GeluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size, float init_std,
          float out_init_std);

  // [share, C] -> [share, C]
  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const;
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  Linear up_, down_;
  RowCalls calls_;
};

class SwigluMlp {
 public:
  // Until backward_input: gate_up, g. From then until backward_weight: g, d_gate_up, dy. As above.
  struct Saved {
    Tensor x;             // [share, C]
    ArenaTensor gate_up;  // [R, 2, F]
    ArenaTensor g;        // [R, F]
    ArenaTensor d_gate_up;
    GatheredRows dy;  // [R, C]
  };

  SwigluMlp(ParamList& list, const std::string& name, std::int64_t hidden_size, std::int64_t ffn_size, float init_std,
            float out_init_std);

  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const;
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  Linear gate_up_, down_;
  RowCalls calls_;
};

}  // namespace trireme
