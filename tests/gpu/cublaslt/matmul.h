// A product as an operation of a stream: every element of A, B, C and the epilogue's operands that it needs is read
// through the checks of device memory, and D and what the epilogue writes go back through them, column by column where
// columns have gaps. The workspace counts as written, so that two streams that share one are found.
#pragma once

#include "tests/gpu/cublaslt/problem.h"
#include "tests/gpu/runtime/gpu.h"

namespace trireme::gpu::cublaslt {

struct Operands {
  const std::byte* a = nullptr;
  const std::byte* b = nullptr;
  const std::byte* c = nullptr;  // null where beta is 0
  std::byte* d = nullptr;
  float alpha = 1;
  float beta = 0;
  std::byte* workspace = nullptr;
  std::size_t workspace_bytes = 0;  // that the algorithm writes
};

void run(Gpu& gpu, const Operation& operation, const Problem& problem, const Operands& operands);

}  // namespace trireme::gpu::cublaslt
