#include "tests/cuda/oracle/linear.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

struct Size {
  std::int64_t rows, outputs, inputs;
};
// The last but one has several tiles in each direction; the last more rows than are worth packing for.
constexpr Size kSizes[] = {{1, 1, 1}, {7, 33, 5}, {0, 3, 8}, {64, 40, 17}, {131, 530, 65}, {33, 17, 200}};
constexpr Order kOrders[] = {Order::kFast, Order::kExact};

std::string circumstances(const Size& size, DType dtype, Order order) {
  return std::string(name_of(dtype)) + (order == Order::kExact ? ", exact" : ", fast") +
         ", R=" + std::to_string(size.rows) + " O=" + std::to_string(size.outputs) +
         " I=" + std::to_string(size.inputs);
}
std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

// n products summed in fp32 in any order, and two more terms: n + 2 roundings of at most sum|terms| each (N. Higham,
// "Accuracy and Stability of Numerical Algorithms", 3.1). Products of bf16 and fp16 are exact.
double bound(std::int64_t n) { return static_cast<double>(n) + 2; }

void linear_forward(Trial& trial) {
  enum class Residual { kNone, kOther, kAliasesY };
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      for (Order order : kOrders)
        for (bool wide : {false, true})
          for (Residual residual : {Residual::kNone, Residual::kOther, Residual::kAliasesY}) {
            const DType result = wide ? DType::kF32 : dtype;
            const Operand x = trial.normal({size.rows, size.inputs}, dtype);
            const Operand w = trial.normal({size.outputs, size.inputs}, dtype);
            const bool biased = residual != Residual::kOther || wide;
            const Operand bias = biased ? trial.normal({size.outputs}, dtype) : Operand();
            const Operand other =
                residual == Residual::kNone ? Operand() : trial.normal({size.rows, size.outputs}, result);
            const Operand y =
                residual == Residual::kAliasesY ? other : trial.poisoned({size.rows, size.outputs}, result);
            trial.ops.linear_forward(trial.stream, y, x, w, bias, other, order);
            trial.describe(circumstances(size, dtype, order) + (biased ? ", bias" : "") +
                           (residual == Residual::kNone    ? ""
                            : residual == Residual::kOther ? ", residual"
                                                           : ", residual in place"));
            trial.expect(
                "y", y,
                oracle::linear_forward(x.values, w.values, bias.values, other.values, at(size.rows), at(size.outputs)),
                bound(size.inputs));
            trial.forget();
          }
}

void linear_backward_input(Trial& trial) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      for (Order order : kOrders)
        for (bool wide : {false, true})
          for (Write write : {Write::kOverwrite, Write::kAdd}) {
            const DType result = wide ? DType::kF32 : dtype;
            const Operand dy = trial.normal({size.rows, size.outputs}, dtype);
            const Operand w = trial.normal({size.outputs, size.inputs}, dtype);
            const bool add = write == Write::kAdd;
            const Operand dx =
                add ? trial.normal({size.rows, size.inputs}, result) : trial.poisoned({size.rows, size.inputs}, result);
            trial.ops.linear_backward_input(trial.stream, dx, dy, w, write, order);
            trial.describe(circumstances(size, dtype, order) + (wide ? ", to fp32" : "") + (add ? ", added" : ""));
            trial.expect("dx", dx,
                         oracle::linear_backward_input(add ? dx.values : oracle::Values(), dy.values, w.values,
                                                       at(size.rows), at(size.outputs)),
                         bound(size.outputs));
            trial.forget();
          }
}

void linear_backward_weight(Trial& trial) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      for (Order order : kOrders)
        for (bool biased : {false, true}) {
          const Operand dy = trial.normal({size.rows, size.outputs}, dtype);
          const Operand x = trial.normal({size.rows, size.inputs}, dtype);
          const Operand dw = trial.normal({size.outputs, size.inputs}, DType::kF32);
          const Operand dbias = biased ? trial.normal({size.outputs}, DType::kF32) : Operand();
          trial.ops.linear_backward_weight(trial.stream, dw, dbias, dy, x, order);
          trial.describe(circumstances(size, dtype, order));
          const oracle::LinearWeights want = oracle::linear_backward_weight(dw.values, dbias.values, dy.values,
                                                                            x.values, at(size.rows), at(size.outputs));
          trial.expect("dw", dw, want.dw, bound(size.rows));
          if (biased) trial.expect("dbias", dbias, want.dbias, bound(size.rows));
          if (biased) {
            const Operand alone = trial.same_as(dbias);
            trial.ops.linear_backward_weight(trial.stream, {}, alone, dy, {}, order);
            trial.expect("dbias without dw", alone, want.dbias, bound(size.rows));
          }
          trial.forget();
        }
}

// Three terms: two additions.
void linear_finish(Trial& trial) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      for (bool biased : {false, true})
        for (bool joined : {false, true}) {
          const Shape shape{size.rows, size.outputs};
          const Operand sum = trial.normal(shape, DType::kF32);
          const Operand bias = biased ? trial.normal({size.outputs}, dtype) : Operand();
          const Operand residual = joined ? trial.normal(shape, dtype) : Operand();
          const oracle::Result want = oracle::linear_finish(sum.values, bias.values, residual.values);
          const Operand y = trial.poisoned(shape, dtype);
          trial.ops.linear_finish(trial.stream, y, sum, bias, residual);
          trial.describe(circumstances(size, dtype, Order::kExact) + (biased ? ", bias" : "") +
                         (joined ? ", residual" : ""));
          trial.expect("y", y, want, 2);
          if (joined) {
            trial.ops.linear_finish(trial.stream, residual, sum, bias, residual);
            trial.expect("y over the residual", residual, want, 2);
          }
          if (dtype == DType::kF32 && !joined) {
            trial.ops.linear_finish(trial.stream, sum, sum, bias, {});
            trial.expect("y over the sum", sum, want, 2);
          }
          trial.forget();
        }
}

}  // namespace

Cases linear_cases() {
  return {make_case("linear_forward", &Kernels::linear_forward, linear_forward),
          make_case("linear_backward_input", &Kernels::linear_backward_input, linear_backward_input),
          make_case("linear_backward_weight", &Kernels::linear_backward_weight, linear_backward_weight),
          make_case("linear_finish", &Kernels::linear_finish, linear_finish)};
}

}  // namespace trireme::parity
