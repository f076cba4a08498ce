// Tolerances. The transcendental part may be off by 4 ulp, and its argument by 4 roundings; the oracles' terms hold the
// condition of the function, so c = 10 for all of these.
#include "tests/cuda/oracle/pointwise.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

constexpr double kPointwise = 10;
constexpr std::int64_t kSizes[] = {1, 7, 64, 129, 0, 20011};

// Normal numbers, some of them far out on both sides, where a naive exp overflows.
Operand spread(Trial& trial, const Shape& shape, DType dtype) {
  Operand x = trial.normal(shape, dtype, 2);
  for (std::size_t i = 0; i < x.values.size(); i += 5) x.values[i] *= i % 2 ? 8 : 60;
  return trial.same_as(x);
}

// Tensors that begin on no 16 bytes, as the shares of ranks do.
void gelu_forward_within(Trial& trial) {
  for (DType dtype : kActivationTypes) {
    constexpr std::int64_t kElements = 2100;
    const Operand x = spread(trial, {kElements + 1}, dtype), y = trial.poisoned({kElements + 1}, dtype);
    trial.ops.gelu_forward(trial.stream, y.tensor.flat(1, kElements + 1), x.tensor.flat(1, kElements + 1));
    trial.describe("from the second element on");
    const oracle::Values inputs(x.values.begin() + 1, x.values.end());
    trial.expect("y", y.tensor.flat(1, kElements + 1), oracle::gelu_forward(inputs), kPointwise);
    trial.expect_exactly("what lies before y", y.tensor.flat(0, 1), {y.values[0]});
    trial.forget();
  }
}

void gelu_forward(Trial& trial) {
  for (std::int64_t n : kSizes)
    for (DType dtype : kActivationTypes) {
      const Operand x = spread(trial, {n}, dtype), y = trial.poisoned({n}, dtype);
      trial.ops.gelu_forward(trial.stream, y, x);
      trial.describe("n=" + std::to_string(n));
      trial.expect("y", y, oracle::gelu_forward(x.values), kPointwise);
      trial.forget();
    }
  gelu_forward_within(trial);
}

void gelu_backward(Trial& trial) {
  for (std::int64_t n : kSizes)
    for (DType dtype : kActivationTypes) {
      const Operand x = spread(trial, {n}, dtype), dy = trial.normal({n}, dtype);
      const Operand dx = trial.poisoned({n}, dtype), in_place = trial.same_as(dy);
      trial.ops.gelu_backward(trial.stream, dx, dy, x);
      trial.ops.gelu_backward(trial.stream, in_place, in_place, x);
      trial.describe("n=" + std::to_string(n));
      trial.expect("dx", dx, oracle::gelu_backward(dy.values, x.values), kPointwise);
      trial.expect_same("dx over dy", in_place, dx);
      trial.forget();
    }
}

struct Size {
  std::int64_t rows, features;
};
// The last two have whole 16-byte packs; on a GPU several rows share a block, or a row is longer than one.
constexpr Size kGated[] = {{1, 1}, {3, 5}, {2, 64}, {9, 131}, {0, 4}, {40, 333}, {37, 72}, {3, 2104}};

void swiglu_forward(Trial& trial) {
  for (auto [rows, features] : kGated)
    for (DType dtype : kActivationTypes) {
      const Operand x = spread(trial, {rows, 2, features}, dtype), y = trial.poisoned({rows, features}, dtype);
      trial.ops.swiglu_forward(trial.stream, y, x);
      trial.describe("R=" + std::to_string(rows) + " F=" + std::to_string(features));
      trial.expect("y", y, oracle::swiglu_forward(x.values, static_cast<std::size_t>(features)), kPointwise);
      trial.forget();
    }
}

void swiglu_backward(Trial& trial) {
  for (auto [rows, features] : kGated)
    for (DType dtype : kActivationTypes) {
      const Operand x = spread(trial, {rows, 2, features}, dtype), dy = trial.normal({rows, features}, dtype);
      const Operand dx = trial.poisoned({rows, 2, features}, dtype);
      trial.ops.swiglu_backward(trial.stream, dx, dy, x);
      trial.describe("R=" + std::to_string(rows) + " F=" + std::to_string(features));
      trial.expect("dx", dx, oracle::swiglu_backward(dy.values, x.values, static_cast<std::size_t>(features)),
                   kPointwise);
      trial.forget();
    }
}

struct Turned {
  std::int64_t rows, streams, heads, size;
  double theta;
  std::int64_t furthest;
};
constexpr Turned kTurned[] = {{1, 1, 1, 2, 10000, 3},       {5, 1, 3, 6, 10000, 4095}, {4, 2, 2, 64, 500000, 1000000},
                              {33, 2, 1, 34, 10000, 70000}, {0, 1, 2, 8, 10000, 0},    {3, 1, 12, 128, 1e6, 131071}};

// Two products of a sine that may be off by 2 ulp of 1, and a sum; the angle may be off by an fp64 rounding of itself.
void rope(Trial& trial) {
  for (const Turned& size : kTurned)
    for (DType dtype : kActivationTypes)
      for (int sign : {1, -1}) {
        const Operand x = trial.normal({size.rows, size.streams, size.heads, size.size}, dtype);
        const Operand positions = trial.integers({size.rows}, DType::kI32, 0, size.furthest);
        trial.ops.rope(trial.stream, x, positions, size.theta, sign);
        trial.describe("x " + to_string(x.tensor.shape) + " sign " + std::to_string(sign));
        const std::size_t sizes[3] = {static_cast<std::size_t>(size.streams), static_cast<std::size_t>(size.heads),
                                      static_cast<std::size_t>(size.size)};
        trial.expect("x", x, oracle::rope(x.values, positions.values, sizes, size.theta, sign), 6);
        trial.forget();
      }
}

}  // namespace

Cases pointwise_cases() {
  return {make_case("gelu_forward", &Kernels::gelu_forward, gelu_forward),
          make_case("gelu_backward", &Kernels::gelu_backward, gelu_backward),
          make_case("swiglu_forward", &Kernels::swiglu_forward, swiglu_forward),
          make_case("swiglu_backward", &Kernels::swiglu_backward, swiglu_backward),
          make_case("rope", &Kernels::rope, rope)};
}

}  // namespace trireme::parity
