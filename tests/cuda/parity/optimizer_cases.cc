#include <limits>

#include "tests/cuda/oracle/whole_tensor.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kSizes[] = {5, 1024, 1025, 0, 40000, 1, 3000};

struct Operands {
  std::vector<Tensor> tensors;
  std::vector<oracle::Values> values;
};
Operands several(Trial& trial, double deviation, bool positive = false) {
  Operands all;
  for (std::int64_t n : kSizes) {
    Operand one = trial.normal({n}, DType::kF32, deviation);
    if (positive) {
      for (double& value : one.values) value = std::abs(value);
      one = trial.same_as(one);
    }
    // Every third begins on no 16 bytes, as the shares of ranks do.
    const std::int64_t before = all.tensors.size() % 3 == 2 ? 1 : 0;
    oracle::Values padded(static_cast<std::size_t>(before), kNan);
    padded.insert(padded.end(), one.values.begin(), one.values.end());
    all.tensors.push_back(trial.given({before + n}, DType::kF32, padded).tensor.flat(before, before + n));
    all.values.push_back(one.values);
  }
  return all;
}

// 1024 squares, added in any order.
void square_sums(Trial& trial) {
  const Operands x = several(trial, 3);
  const oracle::Result want = oracle::square_sums(x.values);
  const Operand sums = trial.poisoned({static_cast<std::int64_t>(want.value.size())}, DType::kF32);
  trial.ops.square_sums(trial.stream, sums, x.tensors);
  trial.describe("7 tensors");
  trial.expect("sums", sums, want, 1024);
}

void find_nonfinite(Trial& trial) {
  for (double bad : {kInfinity, -kInfinity, kNan, 0x1.fffffep127})
    for (std::size_t where : {std::size_t{0}, std::size_t{4}, std::size_t{6}}) {
      Operands x = several(trial, 3);
      oracle::Values& values = x.values[where];
      values[values.size() - 1] = bad;
      x.tensors[where] = trial.given({kSizes[where]}, DType::kF32, values);
      oracle::Values want(std::size(kSizes));
      want[1] = 1;  // found before
      const Operand flags = trial.given({std::size(kSizes)}, DType::kI32, want);
      trial.ops.find_nonfinite(trial.stream, flags, x.tensors);
      want[where] = !std::isfinite(bad);
      trial.describe(std::to_string(bad) + " in tensor " + std::to_string(where));
      trial.expect_exactly("flags", flags, want);
      trial.forget();
    }
}

// Positive terms: the tree of n is off by log2 n, or n - 1 in any order; the square root halves that. The scale's
// powers of two add nothing; the one scale that is none adds a rounding to each.
void decide_step(Trial& trial) {
  struct Situation {
    std::int64_t sums;
    double size, limit;
    double scale = 1, good = 3;
    oracle::ScaleMoves moves{};
  };
  const oracle::ScaleMoves usual{2, 0.5, 1, 2000};
  const Situation situations[] = {
      {1, 1, 0},
      {7, 1, 1},
      {1000, 1, 1},
      {33, 1e-9, 1},
      {5000, 1, 1},
      {9, kInfinity, 1},
      {9, kNan, 1},
      {0, 1, 1},
      {9, 1, -1},
      // gradients that carry a scale: clipped or not, in the midst of an interval, at its end
      {1000, 0x1p32, 1, 65536, 3, usual},
      {1000, 0x1p20, 1, 65536, 1998, usual},
      {1000, 0x1p20, 1, 65536, 1999, usual},
      {1000, 0x1p32, 1, 48000, 2500, usual},
      // overflow: halved; down to the least; nowhere below
      {1000, kInfinity, 1, 65536, 1999, usual},
      {1000, kNan, 1, 1.5, 0, usual},
      {1000, kNan, 1, 1, 7, usual},
      // growth to what fp32 cannot hold
      {5, 1, 0, 0x1p127, 1999, usual},
      {5, 1, 0, 0x1p126, 1999, usual},
      {5, 1, 0, 4, 0, {4, 0.25, 1, 1}}};
  for (const Situation& now : situations) {
    Operand sums = trial.normal({now.sums}, DType::kF32);
    for (double& value : sums.values) value = std::abs(value) * now.size;
    sums = trial.same_as(sums);
    const StepControl control{.norm = trial.poisoned({1}, DType::kF32),
                              .clip = trial.poisoned({1}, DType::kF32),
                              .factor = trial.poisoned({1}, DType::kF32),
                              .skip = trial.poisoned({1}, DType::kI32),
                              .applied = trial.given({1}, DType::kI64, {41}),
                              .scale = trial.given({1}, DType::kF32, {now.scale}),
                              .good = trial.given({1}, DType::kI64, {now.good})};
    trial.ops.decide_step(trial.stream, control, sums, static_cast<float>(now.limit),
                          {.growth = static_cast<float>(now.moves.growth),
                           .backoff = static_cast<float>(now.moves.backoff),
                           .least = static_cast<float>(now.moves.least),
                           .interval = static_cast<std::int64_t>(now.moves.interval)});
    const oracle::Decision want = oracle::decide_step(sums.values, now.limit, 41, now.scale, now.good, now.moves);
    trial.describe(std::to_string(now.sums) + " sums of " + std::to_string(now.size) + ", limit " +
                   std::to_string(now.limit) + ", scale " + std::to_string(now.scale) + " after " +
                   std::to_string(now.good));
    const double c = static_cast<double>(now.sums) + 4;
    trial.expect_exactly("skip", control.skip, {want.skip});
    trial.expect_exactly("applied", control.applied, {want.applied});
    trial.expect_exactly("scale", control.scale, {want.scale});
    trial.expect_exactly("good", control.good, {want.good});
    trial.expect("norm", control.norm, want.norm, c);
    trial.expect("clip", control.clip, want.clip, c);
    trial.expect("factor", control.factor, want.factor, c + 1);
    trial.forget();
  }
}

// m and v: two products of rounded factors and a sum, 4 roundings and one of factor g each. master: those, the rounded
// corrections, square root (which halves v's), two divisions and three sums: below 16.
void adamw(Trial& trial) {
  for (DType dtype : kActivationTypes)
    for (double updates : {1.0, 2.0, 1000.0})
      for (bool skip : {false, true}) {
        const Operands masters = several(trial, 1), m = several(trial, 0.1), v = several(trial, 0.1, true);
        const Operands gradients = several(trial, 3);
        std::vector<Tensor> parameters;
        for (std::size_t i = 0; i < std::size(kSizes); ++i)
          parameters.push_back(dtype == DType::kF32 ? masters.tensors[i]  // the same tensor
                                                    : trial.poisoned({kSizes[i]}, dtype).tensor);
        const AdamW settings{3e-2f, 0.9f, 0.95f, 1e-8f, 0.1f};
        const float factor = 0.3f;
        const StepControl control{.norm = {},
                                  .clip = {},
                                  .factor = trial.given({1}, DType::kF32, {factor}),
                                  .skip = trial.given({1}, DType::kI32, {double(skip)}),
                                  .applied = trial.given({1}, DType::kI64, {updates}),
                                  .scale = {},
                                  .good = {}};
        trial.ops.adamw(trial.stream, parameters, masters.tensors, m.tensors, v.tensors, gradients.tensors, control,
                        settings);
        for (std::size_t i = 0; i < std::size(kSizes); ++i) {
          trial.describe(std::string("parameters ") + name_of(dtype) + ", update " + std::to_string(int(updates)) +
                         (skip ? ", skipped" : "") + ", tensor " + std::to_string(i));
          if (skip) {
            trial.expect_exactly("master", masters.tensors[i], masters.values[i]);
            trial.expect_exactly("m", m.tensors[i], m.values[i]);
            trial.expect_exactly("v", v.tensors[i], v.values[i]);
            continue;
          }
          const oracle::AdamWUpdate want = oracle::adamw(
              masters.values[i], m.values[i], v.values[i], gradients.values[i],
              {settings.learning_rate, settings.beta1, settings.beta2, settings.epsilon, settings.weight_decay}, factor,
              updates);
          trial.expect("master", masters.tensors[i], want.master, 16);
          trial.expect("m", m.tensors[i], want.m, 6);
          trial.expect("v", v.tensors[i], want.v, 6);
          // To the bit: the parameter is the master that the op wrote, rounded.
          oracle::Values rounded = trial.read(masters.tensors[i]);
          for (double& value : rounded) value = oracle::round_to(format_of(dtype), value);
          trial.expect_exactly("parameter", parameters[i], rounded);
        }
        trial.forget();
      }
}

}  // namespace

Cases optimizer_cases() {
  return {make_case("square_sums", &Kernels::square_sums, square_sums),
          make_case("find_nonfinite", &Kernels::find_nonfinite, find_nonfinite),
          make_case("decide_step", &Kernels::decide_step, decide_step), make_case("adamw", &Kernels::adamw, adamw)};
}

}  // namespace trireme::parity
