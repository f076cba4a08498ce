// y = x w^T + bias. The dims of input and output are kept apart ([heads, head_dim] rather than one number), so that
// tensor parallelism can cut a true dim.
#pragma once

#include <string>

#include "trainer/model/pass.h"

namespace trireme {

// Leading dim of rows before the dims of one row.
inline Shape with_rows(std::int64_t rows, const Shape& row) {
  Shape shape{rows};
  for (int dim = 0; dim < row.dims(); ++dim) shape.append(row[dim]);
  return shape;
}
inline Tensor as_matrix(const Tensor& x) { return x.view({x.size(0), x.size(0) == 0 ? 0 : x.elements() / x.size(0)}); }

class Linear {
 public:
  enum class Bias { kNone, kZeros };

  // What the gradients need. Both belong to the caller, who keeps x until backward_weight is done and dy from
  // backward_input on.
  struct Saved {
    Tensor x;   // [R, in...]
    Tensor dy;  // [R, out...]
  };

  Linear(ParamList& list, const std::string& name, const Shape& out, const Shape& in, Bias bias, float init_std);

  // Returns [R, out...]; `residual` [R, out...] is added if given.
  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual = {}) const;
  // Writes or adds to dx [R, in...].
  void backward_input(const Pass& pass, Tensor dx, Tensor dy, Saved& saved, Write write = Write::kOverwrite) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

 private:
  Shape out_;
  ParamIndex weight_;
  bool has_bias_;
  ParamIndex bias_ = 0;
};

}  // namespace trireme
