// LayerNorm and RMSNorm over the hidden size: one interface, so that a block is a composition over either. They see the
// rows held here; their weights are whole on every rank of tensor parallelism, and the ranks' gradients are added with
// the buckets.
#pragma once

#include <string>

#include "trainer/model/pass.h"

namespace trireme {

class LayerNorm {
 public:
  // x and dy belong to the caller: x until backward_weight is done, dy from backward_input on.
  struct Saved {
    Tensor x;                // [share, C]
    Tensor dy;               // [share, C]
    ArenaTensor mean, rstd;  // [share] f32
  };

  LayerNorm(ParamList& list, const std::string& name, std::int64_t size, float epsilon);

  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved) const;
  // dx, with `dresidual` [share, C] (what arrives at x by another way) added if given.
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Tensor dresidual, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  ParamIndex weight_;
  ParamIndex bias_;
  float epsilon_;
};

class RmsNorm {
 public:
  struct Saved {
    Tensor x;          // [share, C]
    Tensor dy;         // [share, C]
    ArenaTensor rstd;  // [share] f32
  };

  RmsNorm(ParamList& list, const std::string& name, std::int64_t size, float epsilon);

  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved) const;
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Tensor dresidual, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  ParamIndex weight_;
  float epsilon_;
};

}  // namespace trireme
