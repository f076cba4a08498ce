// One product as it was described, and everything that the documentation refuses (cuBLAS 13, "cublasLtMatmul": the
// table of supported types; cublasLt.h, the comments of each attribute). What is not refused here may still be refused
// by the real library, whose kernels come and go between versions and devices.
//
//   D = epilogue(alpha op(A) op(B) + beta C), fp32 within          A [m, k], B [k, n], C and D [m, n]
//
//   A and B     C and D      bias and its gradient, aux
//   fp32        fp32         fp32
//   bf16        bf16, fp32   as D
//   fp16        fp16, fp32   as D
#pragma once

#include "tests/gpu/cublaslt/descriptors.h"

namespace trireme::gpu::cublaslt {

struct Problem {
  Description description{};
  Layout a{}, b{}, c{}, d{};
  std::uint64_t m = 0, n = 0, k = 0;
  int batches = 1;

  bool has(std::uint32_t bit) const { return (description.epilogue & bit) != 0; }
  bool adds_bias() const { return has(CUBLASLT_EPILOGUE_BIAS); }
  bool gelu() const { return has(CUBLASLT_EPILOGUE_GELU); }
  bool gelu_gradient() const { return has(64); }
  bool aux() const { return has(128); }
  bool bias_gradient() const { return has(16); }  // with gelu_gradient: sums of D over its columns
  bool sums_a() const { return has(CUBLASLT_EPILOGUE_BGRADA); }
  bool sums_b() const { return has(CUBLASLT_EPILOGUE_BGRADB); }
  std::uint64_t bias_elements() const { return sums_b() ? n : m; }
};

// Throws Status.
Problem problem_of(const Description& description, const Layout& a, const Layout& b, const Layout& c, const Layout& d);

}  // namespace trireme::gpu::cublaslt
