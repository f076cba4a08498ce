// oneDNN's sums depend on how many threads it runs on and on how many rows it is given. Where we promise bits
// (Order::kExact), a linear is cut into tiles whose sizes follow from the shape alone; each is one multiplication on
// one thread, and the last tile of rows is filled up with zeros, so that a row's result depends neither on the threads
// nor on R. Where the library cannot multiply a type (bf16 without AVX-512, fp16), tiles are widened to fp32 on the
// way.
#pragma once

#include "cuda/core/tensor.h"

namespace trireme::host {

// y [R, N] = x [R, K] times w, + bias [N] + residual [R, N]. `w` is [N, K] (and then transposed) or [K, N].
struct Product {
  Tensor y;
  Tensor x;
  Tensor w;
  Tensor bias;
  Tensor residual;  // may be y
  bool w_is_transposed = false;
};

void multiply_tiles(const Product& product, int threads);

// dw [O, I] += dy^T [O, R] x [R, I].
void add_weight_gradient_tiles(const Tensor& dw, const Tensor& dy, const Tensor& x, int threads);

}  // namespace trireme::host
