// The arithmetic of a product, on plain memory. Each element is one chain over k in order: products and sums in fp32,
// rounded apart (no fused multiply-add), then alpha, beta C, bias and GELU in fp32, rounded to D's type once. A GPU
// sums in another order, so nobody may expect its bits here.
//
// GELU is the tanh approximation, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is cuBLASLt's.
#pragma once

#include <vector>

#include "tests/gpu/cublaslt/problem.h"

namespace trireme::gpu::cublaslt {

// A matrix at rest: where element (row, column) lies.
struct View {
  const std::byte* bytes = nullptr;
  std::int32_t type = CUDA_R_32F;
  std::uint64_t row_stride = 0;     // elements
  std::uint64_t column_stride = 0;  // elements

  float at(std::uint64_t row, std::uint64_t column) const;
};
View view(const Layout& layout, const std::byte* bytes);  // of one batch
View transposed(View matrix);

float read_element(std::int32_t type, const std::byte* bytes, std::uint64_t i);
void write_element(std::int32_t type, std::byte* bytes, std::uint64_t i, float value);

// sums[column m + row] = sum over k of a(row, k) b(k, column)           a [m, k], b [k, n]
std::vector<float> multiply(const View& a, const View& b, std::uint64_t m, std::uint64_t n, std::uint64_t k);

float gelu(float x);
float gelu_gradient(float x);

}  // namespace trireme::gpu::cublaslt
