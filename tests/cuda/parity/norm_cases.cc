// Tolerances. A row sum of C terms in any order is off by (C - 1) u sum|terms|; the mean's division adds u. The
// relative error of rstd is half of that of the variance (C + 2: sum, squares, division) plus 3 for sqrt, division and
// epsilon, and the error that a wrong mean makes in the variance is of second order as |mean| stays below the
// deviation. What is left are single roundings.
#include "tests/cuda/oracle/norm.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

struct Size {
  std::int64_t rows, columns;
};
// The later ones have many of the runs of 64 rows that a GPU sums by, and rows long enough for the unrolled part of
// loops over them, shared by a warp or by a block.
constexpr Size kSizes[] = {{1, 1},    {3, 7},    {5, 33},  {2, 64},   {67, 130}, {0, 8},     {2, 1025}, {150, 40},
                           {3, 2504}, {4, 2051}, {700, 8}, {9, 1024}, {3, 1001}, {3, 10248}, {3, 10250}};
constexpr float kEpsilon = 1e-5f;

std::string circumstances(const Size& size) {
  return "R=" + std::to_string(size.rows) + " C=" + std::to_string(size.columns);
}

template <class Run>
void over_sizes(Trial& trial, const Run& run) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes) {
      trial.describe(std::string(name_of(dtype)) + " " + circumstances(size));
      run(size, dtype);
      trial.forget();
    }
}

void layernorm_forward(Trial& trial) {
  over_sizes(trial, [&](const Size& size, DType dtype) {
    const auto [rows, columns] = size;
    const double c = 1.5 * static_cast<double>(columns) + 10;
    const Operand x = trial.normal({rows, columns}, dtype, 2, 0.5);
    const Operand w = trial.normal({columns}, dtype, 0.3, 1), b = trial.normal({columns}, dtype);
    const Operand y = trial.poisoned({rows, columns}, dtype);
    const Operand mean = trial.poisoned({rows}, DType::kF32), rstd = trial.poisoned({rows}, DType::kF32);
    trial.ops.layernorm_forward(trial.stream, y, mean, rstd, x, w, b, kEpsilon);
    const auto want = oracle::layernorm_forward(x.values, w.values, b.values, static_cast<double>(kEpsilon));
    trial.expect("y", y, want.y, c);
    trial.expect("mean", mean, want.mean, c);
    // Of one column the variance is 0, and rstd is 1 / sqrt(epsilon) in either.
    trial.expect("rstd", rstd, want.rstd, c);
  });
}

void layernorm_backward_input(Trial& trial) {
  over_sizes(trial, [&](const Size& size, DType dtype) {
    const auto [rows, columns] = size;
    const double c = static_cast<double>(columns) + 10;
    const Operand x = trial.normal({rows, columns}, dtype, 2, 0.5), dy = trial.normal({rows, columns}, dtype);
    const Operand w = trial.normal({columns}, dtype, 0.3, 1);
    const Operand mean = trial.normal({rows}, DType::kF32, 0.1, 0.5),
                  rstd = trial.normal({rows}, DType::kF32, 0.01, 0.5);
    const Operand dx = trial.poisoned({rows, columns}, dtype);
    trial.ops.layernorm_backward_input(trial.stream, dx, dy, {}, x, mean, rstd, w);
    trial.expect("dx", dx,
                 oracle::layernorm_backward_input(dy.values, {}, x.values, mean.values, rstd.values, w.values), c);

    const Operand residual = trial.normal({rows, columns}, dtype), in_place = trial.same_as(residual);
    const auto want =
        oracle::layernorm_backward_input(dy.values, residual.values, x.values, mean.values, rstd.values, w.values);
    const Operand sum = trial.poisoned({rows, columns}, dtype);
    trial.ops.layernorm_backward_input(trial.stream, sum, dy, residual, x, mean, rstd, w);
    trial.expect("dx with dresidual", sum, want, c);
    trial.ops.layernorm_backward_input(trial.stream, in_place, dy, in_place, x, mean, rstd, w);
    trial.expect_same("dx over dresidual", in_place, sum);
  });
}

// A sum of R + 1 terms of 3 roundings each.
void layernorm_backward_weight(Trial& trial) {
  over_sizes(trial, [&](const Size& size, DType dtype) {
    const auto [rows, columns] = size;
    const double c = static_cast<double>(rows) + 5;
    const Operand x = trial.normal({rows, columns}, dtype, 2, 0.5), dy = trial.normal({rows, columns}, dtype);
    const Operand mean = trial.normal({rows}, DType::kF32, 0.1, 0.5),
                  rstd = trial.normal({rows}, DType::kF32, 0.01, 0.5);
    const Operand dw = trial.normal({columns}, DType::kF32), db = trial.normal({columns}, DType::kF32);
    trial.ops.layernorm_backward_weight(trial.stream, dw, db, dy, x, mean, rstd);
    const auto want =
        oracle::layernorm_backward_weight(dw.values, db.values, dy.values, x.values, mean.values, rstd.values);
    trial.expect("dw", dw, want.dw, c);
    trial.expect("db", db, want.db, c);
  });
}

void rmsnorm_forward(Trial& trial) {
  over_sizes(trial, [&](const Size& size, DType dtype) {
    const auto [rows, columns] = size;
    const double c = 0.5 * static_cast<double>(columns) + 10;
    const Operand x = trial.normal({rows, columns}, dtype, 2, 0.5), w = trial.normal({columns}, dtype, 0.3, 1);
    const Operand y = trial.poisoned({rows, columns}, dtype), rstd = trial.poisoned({rows}, DType::kF32);
    trial.ops.rmsnorm_forward(trial.stream, y, rstd, x, w, kEpsilon);
    const auto want = oracle::rmsnorm_forward(x.values, w.values, static_cast<double>(kEpsilon));
    trial.expect("y", y, want.y, c);
    trial.expect("rstd", rstd, want.rstd, c);
  });
}

void rmsnorm_backward_input(Trial& trial) {
  over_sizes(trial, [&](const Size& size, DType dtype) {
    const auto [rows, columns] = size;
    const double c = static_cast<double>(columns) + 10;
    const Operand x = trial.normal({rows, columns}, dtype, 2, 0.5), dy = trial.normal({rows, columns}, dtype);
    const Operand w = trial.normal({columns}, dtype, 0.3, 1), rstd = trial.normal({rows}, DType::kF32, 0.01, 0.5);
    const Operand dx = trial.poisoned({rows, columns}, dtype);
    trial.ops.rmsnorm_backward_input(trial.stream, dx, dy, {}, x, rstd, w);
    trial.expect("dx", dx, oracle::rmsnorm_backward_input(dy.values, {}, x.values, rstd.values, w.values), c);

    const Operand residual = trial.normal({rows, columns}, dtype), in_place = trial.same_as(residual);
    const Operand sum = trial.poisoned({rows, columns}, dtype);
    trial.ops.rmsnorm_backward_input(trial.stream, sum, dy, residual, x, rstd, w);
    trial.expect("dx with dresidual", sum,
                 oracle::rmsnorm_backward_input(dy.values, residual.values, x.values, rstd.values, w.values), c);
    trial.ops.rmsnorm_backward_input(trial.stream, in_place, dy, in_place, x, rstd, w);
    trial.expect_same("dx over dresidual", in_place, sum);
  });
}

void rmsnorm_backward_weight(Trial& trial) {
  over_sizes(trial, [&](const Size& size, DType dtype) {
    const auto [rows, columns] = size;
    const Operand x = trial.normal({rows, columns}, dtype, 2, 0.5), dy = trial.normal({rows, columns}, dtype);
    const Operand rstd = trial.normal({rows}, DType::kF32, 0.01, 0.5), dw = trial.normal({columns}, DType::kF32);
    trial.ops.rmsnorm_backward_weight(trial.stream, dw, dy, x, rstd);
    trial.expect("dw", dw, oracle::rmsnorm_backward_weight(dw.values, dy.values, x.values, rstd.values),
                 static_cast<double>(rows) + 5);
  });
}

}  // namespace

Cases norm_cases() {
  return {make_case("layernorm_forward", &Kernels::layernorm_forward, layernorm_forward),
          make_case("layernorm_backward_input", &Kernels::layernorm_backward_input, layernorm_backward_input),
          make_case("layernorm_backward_weight", &Kernels::layernorm_backward_weight, layernorm_backward_weight),
          make_case("rmsnorm_forward", &Kernels::rmsnorm_forward, rmsnorm_forward),
          make_case("rmsnorm_backward_input", &Kernels::rmsnorm_backward_input, rmsnorm_backward_input),
          make_case("rmsnorm_backward_weight", &Kernels::rmsnorm_backward_weight, rmsnorm_backward_weight)};
}

}  // namespace trireme::parity
