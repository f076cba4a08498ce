// What a linear does beside its GEMM, a rectangle at a time: widening to fp32, rounding, bias, residual, column sums.
// Vectors of the best instruction set; no threads of their own. Internal to cuda/host.
#pragma once

#include <cstdint>

#include "cuda/core/tensor.h"

namespace trireme::host {

// Of a tensor [R, C].
struct Rectangle {
  std::int64_t row = 0;
  std::int64_t rows = 0;
  std::int64_t column = 0;
  std::int64_t columns = 0;
};

// to [rows, columns] = the rectangle of `from`.
void widen(float* to, const Tensor& from, const Rectangle& rectangle);
// The rectangle of y = tile [rows, columns] + bias + residual (optional, of y's shape), rounded once.
void finish(const Tensor& y, const Rectangle& rectangle, const float* tile, const Tensor& bias, const Tensor& residual);
// sums[c] += x[0][c], += x[1][c] and so on, for columns [begin, end).
void add_column_sums(const Tensor& sums, const Tensor& x, std::int64_t begin, std::int64_t end);

}  // namespace trireme::host
