// y = x w^T + bias. The dims of input and output are kept apart ([heads, head_dim] rather than one number), so that
// tensor parallelism can cut a true dim.
//
// Cut by outputs, a rank computes its part of every row: x is all rows, y its columns of them, and the gradient of x a
// part of a sum over ranks. Cut by inputs, it is the other way round: y is summed over ranks and scattered by rows, and
// bias and residual are added to the rows held here, after the sum.
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
inline Tensor as_matrix(const Tensor& x) {
  std::int64_t columns = 1;
  for (int dim = 1; dim < x.shape.dims(); ++dim) columns *= x.size(dim);
  return x.view({x.size(0), columns});
}

class Linear {
 public:
  enum class Bias { kNone, kZeros };

  // `cut` is of a dim of the weight [out..., in...].
  Linear(ParamList& list, const std::string& name, const Shape& out, const Shape& in, Bias bias, float init_std,
         const Cut& cut);

  // x [R, in...] of all rows. Returns [R, out...], this rank's part of each dim that is cut; cut by inputs, [share,
  // out] of the rows held here. `residual`, of the result's shape, is added if given.
  ArenaTensor forward(const Pass& pass, Tensor x, Tensor residual = {}) const;
  // Writes or adds to dx [R, in...], which may be f32; dy [R, out...], both of all rows.
  void backward_input(const Pass& pass, Tensor dx, Tensor dy, Write write = Write::kOverwrite) const;
  // Of the rows of one micro-batch, all of them.
  void backward_weight(const Pass& pass, Tensor dy, Tensor x) const;

 private:
  Tensor matrix(Tensor weight) const;  // of this rank's box
  Tensor bias(const Pass& pass) const;
  bool sums_outputs(const Pass& pass) const { return cuts_inputs_ && !pass.tensor.alone(); }

  Shape out_;
  bool cuts_inputs_;
  std::string sum_;  // what the sum over ranks is called
  ParamIndex weight_;
  bool has_bias_;
  ParamIndex bias_ = 0;
};

// What the calls are for in which a layer gathers its rows and scatters their sums; they outlive the calls.
struct RowCalls {
  explicit RowCalls(const std::string& layer)
      : x(layer + " input"), dy(layer + " output gradient"), dx(layer + " input gradient"), again(x + " again") {}
  std::string x, dy, dx, again;
};

}  // namespace trireme
