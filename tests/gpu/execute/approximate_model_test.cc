// PTX ISA 9.0, 9.7.3: rcp, sqrt, rsqrt, sin, cos, lg2, ex2, tanh and div with .approx, and div.full: within the errors
// and with the special values that their sections state. What is exact comes from fp64 functions, of 1 ulp of 53 bits
// or better.
#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/floating_reference.h"

namespace trireme::gpu {
namespace {

using reference::flush;

// `error(exact)`: how far off the result may be. Special values must be what they are; f32's NaN is 0x7FFFFFFF.
template <class Error>
struct Within {
  Error error;
  bool flushing = false;
  bool operator()(double exact, float actual) const {
    const float nearest = flushing ? flush(static_cast<float>(exact)) : static_cast<float>(exact);
    if (std::isnan(nearest)) return to_bits(actual) == 0x7FFFFFFF;
    if (std::isinf(nearest) || nearest == 0) return nearest == actual && std::signbit(nearest) == std::signbit(actual);
    if (std::fabs(actual - exact) <= error(exact)) return true;
    // Beside the least normal number the result may have been flushed.
    return flushing && actual == 0 && std::fabs(exact) < 1.0001 * std::numeric_limits<float>::min();
  }
};

const auto relative(int bits) {
  // Half a place for the rounding of subnormal results.
  return [bits](double exact) {
    return std::fabs(exact) * std::exp2(-bits) + 0.75 * std::numeric_limits<float>::denorm_min();
  };
}

template <class... A, class Function, class Error>
void expect_within(const std::string& name, const Function& f, const Error& error, bool flushing,
                   const std::function<bool(A...)>& undefined = {}) {
  const OneInstruction instruction{.text = name + (sizeof...(A) == 1 ? " $0, $1;" : " $0, $1, $2;"),
                                   .results = "w",
                                   .operands = std::string(sizeof...(A), 'w')};
  std::vector<Thread> threads;
  for (auto& row : elementwise::operand_rows(std::vector<std::size_t>(sizeof...(A), 4), 3))
    threads.push_back({.operands = std::move(row)});
  std::mt19937_64 generator(8);
  for (int i = 0; i < 2000; ++i) {  // ordinary numbers
    std::vector<std::uint64_t> row;
    for (std::size_t o = 0; o < sizeof...(A); ++o)
      row.push_back(to_bits(std::uniform_real_distribution<float>(-20, 20)(generator)));
    threads.push_back({.operands = std::move(row)});
  }
  const Outcome outcome = run_one(instruction, threads, Guard::kNone);
  const Within<Error> within{error, flushing};
  const auto operand = [&](std::size_t i, std::size_t o) {
    const auto x = from_bits<float>(threads[i].operands[o]);
    return flushing ? flush(x) : x;
  };
  int complaints = 0;
  for (std::size_t i = 0; i < threads.size() && complaints < 4; ++i) {
    double exact = 0;
    if constexpr (sizeof...(A) == 1) {
      if (undefined && undefined(operand(i, 0))) continue;
      exact = f(static_cast<double>(operand(i, 0)));
    } else {
      if (undefined && undefined(operand(i, 0), operand(i, 1))) continue;
      exact = f(static_cast<double>(operand(i, 0)), static_cast<double>(operand(i, 1)));
    }
    if (within(exact, from_bits<float>(outcome.results[i][0]))) continue;
    ++complaints;
    ADD_FAILURE() << instruction.text << " of" << elementwise::row_text(threads[i].operands) << " gives "
                  << from_bits<float>(outcome.results[i][0]) << ", not about " << exact;
  }
}

template <class Function, class Error>
void expect_both(const std::string& name, const Function& f, const Error& error,
                 const std::function<bool(float)>& undefined = {}) {
  expect_within<float>(name + ".f32", f, error, false, undefined);
  expect_within<float>(name + ".ftz.f32", f, error, true, undefined);
}

TEST(ApproximateModel, KeepsTheIsasErrors) {
  expect_both(
      "ex2.approx", [](double x) { return std::exp2(x); }, relative(22));
  expect_both(
      "rcp.approx", [](double x) { return 1 / x; }, relative(23));
  expect_both(
      "sqrt.approx", [](double x) { return std::sqrt(x); }, relative(23));
  expect_both(
      "rsqrt.approx", [](double x) { return 1 / std::sqrt(x); }, relative(22));
  expect_within<float>(
      "tanh.approx.f32", [](double x) { return std::tanh(x); }, relative(11), false);
}

// 9.7.3.20 lg2: absolute error 2^-22 for arguments in (0.5, 2), relative elsewhere.
TEST(ApproximateModel, TakesLogarithms) {
  const auto error = [](double exact) { return std::max(std::fabs(exact), 1.0) * std::exp2(-22); };
  expect_both(
      "lg2.approx", [](double x) { return std::log2(x); }, error);
}

// 9.7.3.18, 9.7.3.19: absolute error 2^-20.5 from -pi to pi; infinities give NaN.
TEST(ApproximateModel, TakesSinesAndCosinesNearZero) {
  const auto error = [](double) { return std::exp2(-20.5); };
  const auto far = [](float x) { return std::isfinite(x) && std::fabs(x) > 3.14159f; };
  expect_both(
      "sin.approx", [](double x) { return std::sin(x); }, error, far);
  expect_both(
      "cos.approx", [](double x) { return std::cos(x); }, error, far);
}

// 9.7.3.8 div: 2 ulp for divisors of magnitude 2^-126 to 2^126; div.full has no such limit but scales operands.
TEST(ApproximateModel, DividesWithinTwoPlaces) {
  const auto divide = [](double a, double b) { return a / b; };
  const auto two_places = [](double exact) {
    return std::fabs(exact) * std::exp2(-22) + 2 * std::numeric_limits<float>::denorm_min();
  };
  const std::function<bool(float, float)> outside = [](float, float b) {
    return std::isfinite(b) && b != 0 && (std::fabs(b) < 0x1p-126f || std::fabs(b) > 0x1p126f);
  };
  for (const char* name : {"div.approx", "div.full"}) {
    expect_within<float, float>(name + std::string(".f32"), divide, two_places, false, outside);
    expect_within<float, float>(name + std::string(".ftz.f32"), divide, two_places, true, outside);
  }
}

// 9.7.3.14, 9.7.3.17 rcp and rsqrt.approx.ftz.f64: of the upper 32 bits of the operand, the lower being taken as zeros,
// to the upper 32 bits of the result; subnormals are flushed.
TEST(ApproximateModel, StartsDoublePrecisionIterations) {
  const auto upper = [](double x) { return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) >> 32 << 32); };
  const auto flushed = [](double x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0, x) : x; };
  const auto close = [](double exact, double actual) {
    if (std::isnan(exact)) return std::isnan(actual);
    if ((std::bit_cast<std::uint64_t>(actual) & 0xFFFFFFFF) != 0) return false;
    if (std::isinf(exact) || exact == 0) return actual == exact && std::signbit(actual) == std::signbit(exact);
    return std::fabs(actual - exact) <= std::fabs(exact) * std::exp2(-19);
  };
  LaneByLane<double(double)>("rcp.approx.ftz.f64", [&](double x) {
    return flushed(1 / flushed(upper(x)));
  }).holds(close);
  LaneByLane<double(double)>("rsqrt.approx.ftz.f64", [&](double x) {
    return 1 / std::sqrt(flushed(upper(x)));
  }).holds(close);
}

}  // namespace
}  // namespace trireme::gpu
