#include "tests/cuda/oracle/philox.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

struct Size {
  std::int64_t rows, columns;
};
constexpr Size kSizes[] = {{1, 1}, {3, 7}, {5, 66}, {2, 259}, {0, 8}, {17, 64}, {37, 72}, {3, 2104}};
constexpr std::uint64_t kKey = 0xFEDCBA9876543210u;

// A product with a rounded 1 / (1 - p), and a sum.
void dropout(Trial& trial) {
  for (auto [rows, columns] : kSizes)
    for (DType dtype : kActivationTypes)
      for (float probability : {0.0f, 0.1f, 0.75f}) {
        oracle::Values sample, offset;
        const RowIds ids = trial.row_ids(rows, sample, offset);
        const Operand x = trial.normal({rows, columns}, dtype), residual = trial.normal({rows, columns}, dtype);
        const auto want = [&](const oracle::Values& past) {
          return oracle::dropout(x.values, past, probability, kKey, sample, offset, static_cast<std::size_t>(columns));
        };
        const Dropout settings{probability, kKey};
        const Operand alone = trial.poisoned({rows, columns}, dtype), sum = trial.poisoned({rows, columns}, dtype);
        const Operand over_x = trial.same_as(x), over_residual = trial.same_as(residual);
        trial.ops.dropout(trial.stream, alone, x, {}, settings, ids);
        trial.ops.dropout(trial.stream, sum, x, residual, settings, ids);
        trial.ops.dropout(trial.stream, over_x, over_x, {}, settings, ids);
        trial.ops.dropout(trial.stream, over_residual, x, over_residual, settings, ids);
        trial.describe("R=" + std::to_string(rows) + " C=" + std::to_string(columns) +
                       " p=" + std::to_string(probability));
        trial.expect("y", alone, want({}), 3);
        trial.expect("y with residual", sum, want(residual.values), 3);
        trial.expect_same("y over x", over_x, alone);
        trial.expect_same("y over residual", over_residual, sum);
        // With nothing to drop, the rows' ids are not read.
        if (probability == 0) {
          trial.ops.dropout(trial.stream, alone, x, {}, {}, {});
          trial.expect_same("y without ids", alone, x);
        }
        trial.forget();
      }
}

struct Box {
  Shape global, begin, size;
};

// fp64 functions of two libraries differ by an ulp or two, 2^-51 of a result below 7: once in 2^27 elements that moves
// a rounding to fp32, so that one ulp of fp32 is allowed. A box must equal the same part of the whole to the bit.
void init_normal(Trial& trial) {
  const Box boxes[] = {{{1}, {0}, {1}},
                       {{3, 7}, {1, 2}, {2, 5}},
                       {{2, 5, 9}, {1, 1, 3}, {1, 3, 4}},
                       {{100, 130}, {37, 0}, {40, 130}},
                       {{4, 8}, {2, 0}, {0, 8}},
                       {{1 << 20, 5000}, {(1 << 20) - 3, 4990}, {3, 10}}};  // beyond 2^32 elements
  for (const Box& box : boxes)
    for (DType dtype : kActivationTypes) {
      oracle::Result want(static_cast<std::size_t>(box.size.elements()));
      constexpr float kStd = 0.02f;
      for (std::int64_t at = 0; at < box.size.elements(); ++at) {
        std::int64_t element = 0, stride = 1, rest = at;
        for (int dim = box.size.dims() - 1; dim >= 0; --dim) {
          element += (box.begin[dim] + rest % box.size[dim]) * stride;
          rest /= box.size[dim];
          stride *= box.global[dim];
        }
        want.add(static_cast<std::size_t>(at),
                 oracle::normal(static_cast<std::uint64_t>(element), kKey) * static_cast<double>(kStd));
      }
      const Operand x = trial.poisoned(box.size, dtype);
      trial.ops.init_normal(trial.stream, x, box.global, box.begin, kKey, kStd);
      trial.describe("box " + to_string(box.size) + " at " + to_string(box.begin) + " of " + to_string(box.global));
      trial.expect("x", x, want, 2);
      trial.forget();
    }
  const Operand whole = trial.poisoned({64, 33}, DType::kF32), part = trial.poisoned({9, 33}, DType::kF32);
  trial.ops.init_normal(trial.stream, whole, {64, 33}, {0, 0}, kKey, 1);
  trial.ops.init_normal(trial.stream, part, {64, 33}, {50, 0}, kKey, 1);
  trial.describe("rows 50 to 59");
  trial.expect_same("x", part, whole.tensor.rows(50, 59));
}

}  // namespace

Cases random_cases() {
  return {make_case("dropout", &Kernels::dropout, dropout),
          make_case("init_normal", &Kernels::init_normal, init_normal)};
}

}  // namespace trireme::parity
