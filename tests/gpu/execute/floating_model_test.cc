// PTX ISA 9.0, 9.7.3 "Floating Point Instructions": add, sub, mul, fma, div, sqrt and rcp rounded as said, subnormals
// kept or flushed (.ftz), clamped (.sat); min and max with and without .NaN; signs and classes.
#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/floating_reference.h"

namespace trireme::gpu {
namespace {

using reference::flush;
using reference::saturate;
using reference::Towards;

struct Rounding {
  const char* name;
  Towards towards;
};
// "The default is .rn" for add, sub and mul.
const Rounding kDefault{"", Towards::kNearest};
const Rounding kNearest{".rn", Towards::kNearest};
const Rounding kDirected[] = {
    {".rz", Towards::kZero}, {".rm", Towards::kMinusInfinity}, {".rp", Towards::kPlusInfinity}};

// A result that rounds up to the least normal number may have been flushed before it was rounded.
struct FlushedExactly {
  bool operator()(float expected, float actual) const {
    if (std::fabs(expected) == std::numeric_limits<float>::min() && actual == 0) return true;
    return Exactly()(expected, actual);
  }
};

template <class R, class... A, class Reference>
void expect_plain(const std::string& name, const Reference& f, std::vector<std::tuple<A...>> more = {}) {
  LaneByLane<R(A...)>(name, f).also(std::move(more)).holds();
}

template <class... A, class Reference>
void expect_flushing(const std::string& name, const Reference& f) {
  LaneByLane<float(A...)>(name, [f](A... x) { return flush(f(flush(x)...)); }).holds(FlushedExactly());
}

template <class... A, class Reference>
void expect_saturating(const std::string& name, const Reference& f) {
  LaneByLane<float(A...)>(name + ".sat.f32", [f](A... x) { return saturate(f(x...)); }).holds();
  LaneByLane<float(A...)>(name + ".ftz.sat.f32", [f](A... x) {
    return saturate(flush(f(flush(x)...)));
  }).holds(FlushedExactly());
}

// Sums that nearly cancel, and products whose second half decides: c = -(a b) and its neighbours.
template <class T>
std::vector<std::tuple<T, T, T>> cancelling() {
  std::mt19937_64 generator(11);
  std::uniform_real_distribution<T> uniform(T(-2), T(2));
  std::vector<std::tuple<T, T, T>> rows;
  for (int i = 0; i < 600; ++i) {
    const T a = uniform(generator);
    const T b = uniform(generator);
    T c = -(a * b);
    for (int step = i % 3; step > 0; --step) c = std::nextafter(c, T(i % 2 == 0 ? 4 : -4));
    rows.emplace_back(a, b, c);
    // A product just beside the middle between two sums.
    rows.emplace_back(std::ldexp(a, -std::numeric_limits<T>::digits), std::nextafter(T{1}, T(i % 2)),
                      std::nextafter(T{1}, T{2}));
  }
  return rows;
}

void expect_sums(const Rounding& rounding, bool saturates) {
  const Towards t = rounding.towards;
  const auto add = [t](auto a, auto b) { return reference::add(a, b, t); };
  const auto sub = [t](auto a, auto b) { return reference::sub(a, b, t); };
  const auto mul = [t](auto a, auto b) { return reference::mul(a, b, t); };
  const auto both = [&](const std::string& opcode, const auto& f) {
    const std::string name = opcode + rounding.name;
    expect_plain<float, float, float>(name + ".f32", f);
    expect_plain<double, double, double>(name + ".f64", f);
    expect_flushing<float, float>(name + ".ftz.f32", f);
    if (saturates) expect_saturating<float, float>(name, f);
  };
  both("add", add);
  both("sub", sub);
  both("mul", mul);
}

void expect_fma(const Rounding& rounding, bool saturates) {
  const Towards t = rounding.towards;
  const auto fma = [t](auto a, auto b, auto c) { return reference::fma(a, b, c, t); };
  const std::string name = std::string("fma") + rounding.name;
  expect_plain<float, float, float, float>(name + ".f32", fma, cancelling<float>());
  expect_plain<double, double, double, double>(name + ".f64", fma, cancelling<double>());
  expect_flushing<float, float, float>(name + ".ftz.f32", fma);
  if (saturates) expect_saturating<float, float, float>(name, fma);
}

void expect_quotients(const Rounding& rounding) {
  const Towards t = rounding.towards;
  const auto div = [t](auto a, auto b) { return reference::div(a, b, t); };
  const auto rcp = [t](auto a) { return reference::div(decltype(a){1}, a, t); };
  const auto sqrt = [t](auto a) { return reference::sqrt(a, t); };
  const std::string mode = rounding.name;
  expect_plain<float, float, float>("div" + mode + ".f32", div);
  expect_plain<double, double, double>("div" + mode + ".f64", div);
  expect_flushing<float, float>("div" + mode + ".ftz.f32", div);
  expect_plain<float, float>("rcp" + mode + ".f32", rcp);
  expect_plain<double, double>("rcp" + mode + ".f64", rcp);
  expect_flushing<float>("rcp" + mode + ".ftz.f32", rcp);
  expect_plain<float, float>("sqrt" + mode + ".f32", sqrt);
  expect_plain<double, double>("sqrt" + mode + ".f64", sqrt);
  expect_flushing<float>("sqrt" + mode + ".ftz.f32", sqrt);
}

TEST(FloatingModel, AddsAndMultipliesToNearestWithAndWithoutSayingSo) {
  expect_sums(kDefault, true);
  expect_sums(kNearest, true);
}

TEST(FloatingModel, RoundsAProductPlusANumberOnce) { expect_fma(kNearest, true); }

TEST(FloatingModel, DividesAndTakesRootsToNearest) { expect_quotients(kNearest); }

TEST(FloatingModel, RoundsTheWayThatIsSaid) {
  for (const Rounding& rounding : kDirected) {
    expect_sums(rounding, false);
    expect_fma(rounding, false);
    expect_quotients(rounding);
  }
}

// The reference's own std::fma, where a * b + c in 113 bits is exact and rounded once more to the same.
TEST(FloatingModel, IsHeldToAFusedProductThatIsRight) {
  for (const auto& [a, b, c] : cancelling<float>()) {
    EXPECT_EQ(std::fma(a, b, c), static_cast<float>(reference::Quad{a} * b + c)) << a << " " << b << " " << c;
  }
  for (const auto& [a, b, c] : cancelling<double>()) {
    const double nearest = std::fma(a, b, c);
    const int side = reference::sign_of_sum_less(reference::Quad{a} * b, c, nearest);
    const double next = std::nextafter(nearest, side > 0 ? 1e300 : -1e300);
    // No neighbour is nearer: the exact result lies on this side of the middle.
    const reference::Quad middle = (reference::Quad{nearest} + next) / 2;
    if (side != 0) {
      EXPECT_NE(reference::sign_of_sum_less(reference::Quad{a} * b, c, middle), side);
    }
  }
}

// 9.7.3.11 min, max: of a NaN and a number the number, of two the canonical NaN; -0 < +0. With .NaN any NaN wins.
TEST(FloatingModel, TakesTheLesserAndTheGreaterAndMindsNan) {
  const auto pick = [](auto a, auto b, bool greater) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (a == b) return std::signbit(a) == greater ? b : a;
    return (a < b) == greater ? b : a;
  };
  const auto min = [=](auto a, auto b) { return pick(a, b, false); };
  const auto max = [=](auto a, auto b) { return pick(a, b, true); };
  const auto or_nan = [](const auto& f) {
    return [f](float a, float b) { return std::isnan(a) || std::isnan(b) ? std::nanf("") : f(a, b); };
  };
  expect_plain<float, float, float>("min.f32", min);
  expect_plain<float, float, float>("max.f32", max);
  expect_flushing<float, float>("min.ftz.f32", min);
  expect_flushing<float, float>("max.ftz.f32", max);
  expect_plain<double, double, double>("min.f64", min);
  expect_plain<double, double, double>("max.f64", max);
  expect_plain<float, float, float>("min.NaN.f32", or_nan(min));
  expect_plain<float, float, float>("max.NaN.f32", or_nan(max));
  expect_flushing<float, float>("min.ftz.NaN.f32", or_nan(min));
  expect_flushing<float, float>("max.ftz.NaN.f32", or_nan(max));
}

TEST(FloatingModel, ChangesSigns) {
  const auto neg = [](auto a) { return -a; };
  const auto abs = [](auto a) { return std::fabs(a); };
  LaneByLane<float(float)>("neg.f32", neg).holds(AnyNan());
  LaneByLane<float(float)>("abs.f32", abs).holds(AnyNan());
  LaneByLane<float(float)>("neg.ftz.f32", [](float a) { return -flush(a); }).holds(AnyNan());
  LaneByLane<float(float)>("abs.ftz.f32", [](float a) { return std::fabs(flush(a)); }).holds(AnyNan());
  LaneByLane<double(double)>("neg.f64", neg).holds(AnyNan());
  LaneByLane<double(double)>("abs.f64", abs).holds(AnyNan());
  // 9.7.3.2 copysign: the sign of a on the value of b.
  LaneByLane<float(float, float)>("copysign.f32", [](float a, float b) { return std::copysign(b, a); }).holds(AnyNan());
  LaneByLane<double(double, double)>("copysign.f64", [](double a, double b) {
    return std::copysign(b, a);
  }).holds(AnyNan());
}

TEST(FloatingModel, TellsClassesOfNumbers) {
  const auto finite = [](auto a) { return a - a == 0; };
  const auto infinite = [](auto a) { return a == a && a - a != 0; };
  const auto nan = [](auto a) { return a != a; };
  const auto both = [](const std::string& name, const auto& f) {
    LaneByLane<bool(float)>("testp." + name + ".f32", f).holds();
    LaneByLane<bool(double)>("testp." + name + ".f64", f).holds();
  };
  both("finite", finite);
  both("infinite", infinite);
  both("notanumber", nan);
}

}  // namespace
}  // namespace trireme::gpu
