#include <cmath>

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

// Rows are added one after another in fp32, which leaves one result: of R rows and the table's own, in their order.
oracle::Values added_in_order(const Operand& dtable, const Operand& ids, const Operand& dy, std::int64_t first) {
  oracle::Values sums = dtable.values;
  const auto columns = static_cast<std::size_t>(dy.tensor.size(1));
  for (std::size_t row = 0; row < ids.values.size(); ++row) {
    const std::int64_t entry = static_cast<std::int64_t>(ids.values[row]) - first;
    if (entry < 0 || entry >= dtable.tensor.size(0)) continue;
    for (std::size_t column = 0; column < columns; ++column) {
      double& sum = sums[static_cast<std::size_t>(entry) * columns + column];
      sum = static_cast<double>(static_cast<float>(sum) + static_cast<float>(dy.values[row * columns + column]));
    }
  }
  return sums;
}

// Each element is a sum of at most R + 1 terms, in any order: R additions.
void expect_gradient(Trial& trial, const Size& size, DType dtype, const Operand& ids) {
  const Operand dy = trial.normal({size.rows, size.columns}, dtype);
  const Operand dtable = trial.normal({size.entries, size.columns}, DType::kF32);
  trial.ops.embedding_backward(trial.stream, dtable, ids, dy, size.first);
  trial.describe(std::string("dy ") + name_of(dtype) + ", " +
                 circumstances(size.rows, size.columns, size.entries, size.first));
  trial.expect("dtable", dtable,
               oracle::embedding_backward(dtable.values, ids.values, dy.values, size.first,
                                          static_cast<std::size_t>(size.columns)),
               static_cast<double>(size.rows));
  trial.expect_exactly("dtable in the order of the rows", dtable, added_in_order(dtable, ids, dy, size.first));
  trial.forget();
}

void embedding_backward(Trial& trial) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      expect_gradient(trial, size, dtype,
                      trial.integers({size.rows}, DType::kI32, size.first - 2, size.first + size.entries + 1));
  // Tables whose entries' numbers have two and three digits, of which rows name few, again and again and far apart.
  for (const Size& size : {Size{1100, 5, 700, 3}, Size{90, 3, 70000, -2}}) {
    const Operand few = trial.integers({size.rows}, DType::kI32, 0, 12);
    oracle::Values ids;
    for (double one : few.values)
      ids.push_back(static_cast<double>(size.first) + std::floor(one * static_cast<double>(size.entries) / 12));
    expect_gradient(trial, size, DType::kF32, trial.given({size.rows}, DType::kI32, ids));
  }
}

}  // namespace

Cases embedding_cases() {
  return {make_case("embedding_forward", &Kernels::embedding_forward, embedding_forward),
          make_case("embedding_backward", &Kernels::embedding_backward, embedding_backward)};
}

}  // namespace trireme::parity
