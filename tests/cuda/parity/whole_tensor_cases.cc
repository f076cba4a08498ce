#include <limits>

#include "tests/cuda/oracle/whole_tensor.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

constexpr std::int64_t kSizes[] = {1, 9, 64, 1000, 0, 1024, 5003};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string sized(std::int64_t n) { return "n=" + std::to_string(n); }

void fill(Trial& trial) {
  for (std::int64_t n : kSizes)
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64}) {
      const bool integer = dtype == DType::kI32 || dtype == DType::kI64;
      const Operand x = trial.poisoned({n}, dtype);
      trial.ops.fill(trial.stream, x, -2.7f);
      trial.describe(sized(n));
      const double want = integer ? -3 : oracle::round_to(format_of(dtype), static_cast<double>(-2.7f));
      trial.expect_exactly("x", x, oracle::Values(static_cast<std::size_t>(n), want));
      trial.forget();
    }
}

// Numbers where rounding goes wrong: ties both ways, the largest, subnormals, infinities, NaN, both zeros.
oracle::Values hard_numbers() {
  oracle::Values values = {0,
                           -0.0,
                           1,
                           kInfinity,
                           -kInfinity,
                           std::numeric_limits<double>::quiet_NaN(),
                           0x1.fffffep127,
                           0x1.fep127,
                           0x1.ffp127,
                           65504,
                           65519,
                           65520,
                           0x1p-126,
                           0x1p-127,
                           0x1p-149,
                           0x1p-133,
                           0x1p-134,
                           0x1.8p-133,
                           0x1p-14,
                           0x1p-24,
                           0x1p-25,
                           0x1.000002p-25,
                           0x1.8p-24,
                           0x1.ffcp-15};
  for (int digits : {8, 11})
    for (double base : {1.0, 1.0 + std::ldexp(1, 1 - digits)})
      for (double past : {-0x1p-23, 0.0, 0x1p-23}) values.push_back(base + std::ldexp(1, -digits) + past);
  const std::size_t count = values.size();
  for (std::size_t i = 0; i < count; ++i) values.push_back(-values[i]);
  return values;
}

void copy(Trial& trial) {
  for (DType from : kActivationTypes)
    for (DType to : kActivationTypes)
      for (std::int64_t n : kSizes) {
        oracle::Values values = trial.normal({n}, DType::kF32, 100).values;
        const oracle::Values hard = hard_numbers();
        if (n > 64) std::copy(hard.begin(), hard.end(), values.begin() + 3);
        const Operand source = trial.given({n}, from, values), target = trial.poisoned({n}, to);
        oracle::Values want = source.values;
        for (double& value : want) value = oracle::round_to(format_of(to), value);
        trial.ops.copy(trial.stream, target, source);
        trial.describe(std::string("from ") + name_of(from) + " " + sized(n));
        trial.expect_exactly("to", target, want);
        trial.forget();
      }
  for (DType dtype : {DType::kI32, DType::kI64}) {
    const Operand source = trial.integers({37}, dtype, -1000000, 1000000), target = trial.poisoned({37}, dtype);
    trial.ops.copy(trial.stream, target, source);
    trial.describe("n=37");
    trial.expect_exactly("to", target, source.values);
  }
}

void add(Trial& trial) {
  for (std::int64_t n : kSizes) {
    const Operand to = trial.normal({n}, DType::kF32), from = trial.normal({n}, DType::kF32);
    trial.ops.add(trial.stream, to, from);
    trial.describe(sized(n));
    trial.expect_exactly("to", to, oracle::sum_tree({to.values, from.values}));
    trial.forget();
  }
}

void sum_tree(Trial& trial) {
  for (std::size_t count = 1; count <= 9; ++count)
    for (std::int64_t n : kSizes) {
      std::vector<Tensor> parts;
      std::vector<oracle::Values> values;
      for (std::size_t i = 0; i < count; ++i) {
        const Operand part = trial.normal({n}, DType::kF32);
        parts.push_back(part);
        values.push_back(part.values);
      }
      const Operand to = trial.poisoned({n}, DType::kF32);
      trial.ops.sum_tree(trial.stream, to, parts);
      trial.ops.sum_tree(trial.stream, parts[0], parts);
      trial.describe(std::to_string(count) + " parts, " + sized(n));
      trial.expect_exactly("to", to, oracle::sum_tree(values));
      trial.expect_exactly("to over parts[0]", parts[0], oracle::sum_tree(values));
      trial.forget();
    }
}

// 1023 additions in a block in any order, then a tree of the blocks, then the total: log2(5) + 1 more.
void add_sum(Trial& trial) {
  for (std::int64_t n : kSizes) {
    const Operand total = trial.given({1}, DType::kF32, {3.5}), x = trial.normal({n}, DType::kF32);
    trial.ops.add_sum(trial.stream, total, x);
    trial.describe(sized(n));
    trial.expect("total", total, oracle::add_sum(total.values[0], x.values),
                 static_cast<double>(std::min<std::int64_t>(n, 1023)) + 4);
    trial.forget();
  }
}

void reciprocal(Trial& trial) {
  // The last is no fp32 number.
  for (double count : {0.0, 1.0, 3.0, 4097.0, 0x1p25 + 1})
    for (double numerator : {1.0, 65536.0}) {
      const Operand ratio = trial.poisoned({1}, DType::kF32), given = trial.given({1}, DType::kI64, {count});
      trial.ops.reciprocal(trial.stream, ratio, given, trial.given({1}, DType::kF32, {numerator}));
      trial.describe(std::to_string(numerator) + " / " + std::to_string(count));
      trial.expect_exactly("ratio", ratio, {count == 0 ? 0 : oracle::round_to(oracle::kF32, numerator / count)});
      trial.forget();
    }
}

}  // namespace

Cases whole_tensor_cases() {
  return {make_case("fill", &Kernels::fill, fill),
          make_case("copy", &Kernels::copy, copy),
          make_case("add", &Kernels::add, add),
          make_case("sum_tree", &Kernels::sum_tree, sum_tree),
          make_case("add_sum", &Kernels::add_sum, add_sum),
          make_case("reciprocal", &Kernels::reciprocal, reciprocal)};
}

}  // namespace trireme::parity
