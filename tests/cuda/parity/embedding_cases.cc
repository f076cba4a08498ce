#include "tests/cuda/oracle/embedding.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

std::string circumstances(std::int64_t rows, std::int64_t columns, std::int64_t entries, std::int64_t first) {
  return "R=" + std::to_string(rows) + " C=" + std::to_string(columns) + " N=" + std::to_string(entries) +
         " first=" + std::to_string(first);
}

struct Size {
  std::int64_t rows, columns, entries, first;
};
constexpr Size kSizes[] = {{1, 1, 1, 0},      {7, 33, 5, 0},    {64, 17, 40, 100}, {0, 8, 3, 0},
                           {131, 200, 3, -1}, {9, 1024, 50, 7}, {700, 16, 3, 0},   {3, 4200, 2, 5}};

void embedding_forward(Trial& trial) {
  for (const Size& size : kSizes) {
    for (DType dtype : kActivationTypes) {
      const Operand ids = trial.integers({size.rows}, DType::kI32, size.first - 2, size.first + size.entries + 1);
      const Operand table = trial.normal({size.entries, size.columns}, dtype);
      const auto columns = static_cast<std::size_t>(size.columns);
      const Operand y = trial.poisoned({size.rows, size.columns}, dtype);
      trial.ops.embedding_forward(trial.stream, y, ids, table, size.first, Write::kOverwrite);
      trial.describe(circumstances(size.rows, size.columns, size.entries, size.first));
      trial.expect_exactly("y", y, oracle::embedding_forward(ids.values, table.values, size.first, columns, {}).value);
      const Operand wide = trial.poisoned({size.rows, size.columns}, DType::kF32);
      trial.ops.embedding_forward(trial.stream, wide, ids, table, size.first, Write::kOverwrite);
      trial.expect_exactly("y in fp32", wide,
                           oracle::embedding_forward(ids.values, table.values, size.first, columns, {}).value);

      // One sum of two terms.
      const Operand sum = trial.normal({size.rows, size.columns}, dtype);
      trial.ops.embedding_forward(trial.stream, sum, ids, table, size.first, Write::kAdd);
      trial.describe("added, " + circumstances(size.rows, size.columns, size.entries, size.first));
      trial.expect("y", sum, oracle::embedding_forward(ids.values, table.values, size.first, columns, sum.values), 1);
      trial.forget();
    }
  }
}

// Each element is a sum of at most R + 1 terms, in any order: R additions.
void embedding_backward(Trial& trial) {
  for (const Size& size : kSizes) {
    for (DType dtype : kActivationTypes) {
      const Operand ids = trial.integers({size.rows}, DType::kI32, size.first - 2, size.first + size.entries + 1);
      const Operand dy = trial.normal({size.rows, size.columns}, dtype);
      const Operand dtable = trial.normal({size.entries, size.columns}, DType::kF32);
      trial.ops.embedding_backward(trial.stream, dtable, ids, dy, size.first);
      trial.describe(std::string("dy ") + name_of(dtype) + ", " +
                     circumstances(size.rows, size.columns, size.entries, size.first));
      trial.expect("dtable", dtable,
                   oracle::embedding_backward(dtable.values, ids.values, dy.values, size.first,
                                              static_cast<std::size_t>(size.columns)),
                   static_cast<double>(size.rows));
      trial.forget();
    }
  }
}

}  // namespace

Cases embedding_cases() {
  return {make_case("embedding_forward", &Kernels::embedding_forward, embedding_forward),
          make_case("embedding_backward", &Kernels::embedding_backward, embedding_backward)};
}

}  // namespace trireme::parity
