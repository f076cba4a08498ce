// An op is fast when it is close to what its equation allows: the arithmetic at the speed of the best GEMM, or the
// bytes that it has to move at the speed of a copy. Each case calls one op of the table at a model's sizes and says how
// much of both that is (cuda/ops/kernels.h); the floor is the larger time.
//
// What fits the caches may run faster than its floor, which is of memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "launch/bench/workload.h"

namespace trireme {

struct Work {
  double flop = 0;
  double bytes = 0;
};

struct OpResult {
  std::string op;
  std::string shape;
  Work work;
  double seconds = 0;  // the fastest call
};

// Operands and the clock of one op's cases; owns the operands.
class OpBench {
 public:
  OpBench(Context& context, const Workload& workload, DType dtype, double least_seconds);
  ~OpBench();
  OpBench(const OpBench&) = delete;
  OpBench& operator=(const OpBench&) = delete;

  const Kernels& ops;
  const Stream stream;
  const DType dtype;
  const double s;                 // bytes of an element of dtype
  const std::int64_t T;           // sequence length
  const std::int64_t R, C, F, V;  // as in cuda/ops/kernels.h
  const std::int64_t H, D;

  // --- operands: halves, or what an op takes as such
  Tensor activation(const Shape& shape) { return filled(shape, dtype, 0.5f); }
  Tensor f32(const Shape& shape) { return filled(shape, DType::kF32, 0.5f); }
  Tensor filled(const Shape& shape, DType as, float value);
  Tensor tokens();     // [R] i32, below V
  Tensor positions();  // [R] i32
  Tensor causal();     // [R, 2] i32: each row attends to its sample's rows up to itself
  RowIds row_ids();

  // Calls `op` for at least `least_seconds` and three times. `shape`: what a reader needs to know of the operands.
  void measure(const std::string& shape, const Work& work, const std::function<void()>& op);

  std::vector<OpResult> take_results(const std::string& op);

 private:
  Tensor uploaded(const Shape& shape, DType as, const void* values);

  Context& context_;
  const Workload& workload_;
  double least_seconds_;
  std::vector<std::byte*> blocks_;
  std::vector<OpResult> results_;
};

struct OpCase {
  const char* op;
  void (*run)(OpBench&);
};
// Every op of the table, in its order.
const std::vector<OpCase>& op_cases();

// Bytes per second, read and written together, of a copy much larger than any cache.
double measure_copy_bandwidth(Context& context);

// Of the ops whose name contains `filter`, each for `least_seconds`.
std::vector<OpResult> measure_ops(Context& context, const Workload& workload, DType dtype, const std::string& filter,
                                  double least_seconds);

}  // namespace trireme
