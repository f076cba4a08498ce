#include "tests/cuda/oracle/cross_entropy.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

struct Size {
  std::int64_t rows, columns, valid, first;
};
// The last has several blocks of columns.
constexpr Size kSizes[] = {{1, 1, 1, 0},      {5, 33, 31, 100},   {0, 8, 8, 0},       {3, 64, 0, 64},    {600, 9, 9, 3},
                           {33, 100, 100, 7}, {4, 3001, 2999, 0}, {3, 2052, 2050, 0}, {3, 9216, 9213, 0}};
struct Kind {
  float smoothing, z_loss;
};
constexpr Kind kKinds[] = {{0, 0}, {0.1f, 0}, {0.2f, 0.01f}};

// What one call takes. Targets lie within, beside and far outside of the range; some rows are masked.
struct Inputs {
  Operand logits, targets, weights;
  CrossEntropy options;
  oracle::CrossEntropyOptions said;

  Inputs(Trial& trial, const Size& size, const Kind& kind) {
    const std::int64_t vocabulary = size.first + size.valid + 50;
    options = {size.first, size.valid, vocabulary, kind.smoothing, kind.z_loss};
    said = {size.first, size.valid, vocabulary, static_cast<double>(kind.smoothing), static_cast<double>(kind.z_loss)};
    logits = trial.normal({size.rows, size.columns}, DType::kF32, 4, 3);
    targets = trial.integers({size.rows}, DType::kI32, size.first - 3, size.first + size.valid + 2);
    weights = trial.integers({size.rows}, DType::kF32, 0, 2);
    trial.describe("R=" + std::to_string(size.rows) + " V=" + std::to_string(size.columns) + " of them " +
                   std::to_string(size.valid) + ", smoothing " + std::to_string(kind.smoothing));
  }
};

// A sum of V terms in any order, an exponential (1 ulp) and a difference; a rescaling (3 roundings) for each 1024
// columns.
double statistics_bound(const Size& size) { return static_cast<double>(size.valid + 3 * (size.valid / 1024) + 4); }

void statistics(Trial& trial) {
  for (const Size& size : kSizes) {
    const Inputs in(trial, size, kKinds[0]);
    const Operand out = trial.poisoned({size.rows, 4}, DType::kF32);
    trial.ops.cross_entropy_statistics(trial.stream, out, in.logits, in.targets, in.options);
    trial.expect("statistics", out, oracle::cross_entropy_statistics(in.logits.values, in.targets.values, in.said),
                 statistics_bound(size));
    trial.forget();
  }
}

// n terms, each an exponential of a difference times a sum.
void merge(Trial& trial) {
  for (std::int64_t n : {1, 2, 5})
    for (const Size& size : kSizes) {
      oracle::Values parts;
      for (std::int64_t which = 0; which < n; ++which) {
        const Inputs in(trial, size, kKinds[0]);
        const auto part = oracle::cross_entropy_statistics(in.logits.values, in.targets.values, in.said).value;
        parts.insert(parts.end(), part.begin(), part.end());
      }
      const Operand given = trial.given({n, size.rows, 4}, DType::kF32, parts);
      const Operand out = trial.poisoned({size.rows, 4}, DType::kF32);
      trial.ops.cross_entropy_merge(trial.stream, out, given);
      trial.describe(std::to_string(n) + " parts of V=" + std::to_string(size.valid));
      trial.expect("statistics", out, oracle::cross_entropy_merge(given.values, static_cast<std::size_t>(n)),
                   static_cast<double>(n) + 4);
      trial.forget();
    }
}

Operand given_statistics(Trial& trial, const Inputs& in) {
  return trial.given({in.logits.tensor.size(0), 4}, DType::kF32,
                     oracle::cross_entropy_statistics(in.logits.values, in.targets.values, in.said).value);
}

// log (1 ulp), lse, its square, two differences, three products and sums.
void loss(Trial& trial) {
  for (const Size& size : kSizes)
    for (const Kind& kind : kKinds) {
      if (size.valid == 0) continue;
      const Inputs in(trial, size, kind);
      const Operand statistics = given_statistics(trial, in);
      const Operand out = trial.poisoned({size.rows}, DType::kF32);
      trial.ops.cross_entropy_loss(trial.stream, out, statistics, in.weights, in.options);
      trial.expect("loss", out, oracle::cross_entropy_loss(statistics.values, in.weights.values, in.said), 12);
      trial.forget();
    }
}

// exp (1 ulp) of a difference; a factor of six roundings; two differences.
void backward(Trial& trial) {
  for (const Size& size : kSizes)
    for (const Kind& kind : kKinds)
      for (DType dtype : kActivationTypes)
        for (bool in_place : {false, true}) {
          if (in_place && dtype != DType::kF32) continue;
          const Inputs in(trial, size, kind);
          const Operand statistics = given_statistics(trial, in);
          const Operand scale = trial.given({1}, DType::kF32, {0.37});
          const Operand out = in_place ? in.logits : trial.poisoned({size.rows, size.columns}, dtype);
          trial.ops.cross_entropy_backward(trial.stream, out, in.logits, statistics, in.targets, in.weights, scale,
                                           in.options);
          trial.expect("dlogits", out,
                       oracle::cross_entropy_backward(in.logits.values, statistics.values, in.targets.values,
                                                      in.weights.values, scale.values[0], in.said),
                       16);
          trial.forget();
        }
}

}  // namespace

Cases cross_entropy_cases() {
  return {make_case("cross_entropy_statistics", &Kernels::cross_entropy_statistics, statistics),
          make_case("cross_entropy_merge", &Kernels::cross_entropy_merge, merge),
          make_case("cross_entropy_loss", &Kernels::cross_entropy_loss, loss),
          make_case("cross_entropy_backward", &Kernels::cross_entropy_backward, backward)};
}

}  // namespace trireme::parity
