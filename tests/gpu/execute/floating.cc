// f32 and f64 rounded to nearest: PTX ISA, "Floating Point Instructions". IEEE arithmetic, subnormals included unless
// .ftz says otherwise; a NaN that f32 arithmetic gives is 0x7FFFFFFF. Contracting is the compiler's doing, never this
// file's (it is compiled with -ffp-contract=off). mul and add without .rn may be fused by ptxas; nvcc has done so
// already.
#include <cmath>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMul = [](auto a, auto b) { return a * b; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kDiv = [](auto a, auto b) { return a / b; };
constexpr auto kSqrt = [](auto a) { return std::sqrt(a); };
constexpr auto kRcp = [](auto a) { return decltype(a){1} / a; };

// -0 is less than +0; of a NaN and a number, the number.
constexpr auto kMin = [](auto a, auto b) {
  if (a != a) return b;
  if (b != b) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
};
constexpr auto kMax = [](auto a, auto b) {
  if (a != a) return b;
  if (b != b) return a;
  return a > b || (a == b && !std::signbit(a)) ? a : b;
};
constexpr auto kMinNan = [](auto a, auto b) { return a != a || b != b ? decltype(a)(NAN) : kMin(a, b); };
constexpr auto kMaxNan = [](auto a, auto b) { return a != a || b != b ? decltype(a)(NAN) : kMax(a, b); };
constexpr auto kAbs = [](auto a) { return std::fabs(a); };
constexpr auto kNeg = [](auto a) { return -a; };

// The variants of an operation: subnormals flushed at both ends, the result to [0, 1].
template <auto kFunction>
struct Variant {
  static constexpr auto plain = [](auto... x) { return canonical(kFunction(x...)); };
  static constexpr auto ftz = [](auto... x) { return flushed(canonical(kFunction(flushed(x)...))); };
  static constexpr auto sat = [](auto... x) { return saturated(kFunction(x...)); };
  static constexpr auto ftz_sat = [](auto... x) { return saturated(flushed(kFunction(flushed(x)...))); };
};

template <auto kFunction, class... In>
void add_single(ModelTable& table, const std::string& name, bool saturates) {
  using V = Variant<kFunction>;
  using E = Elementwise<float, In...>;
  const std::string letters(1 + sizeof...(In), 'w');
  table.add(name + ".f32", {E::template run<V::plain>, letters});
  table.add(name + ".ftz.f32", {E::template run<V::ftz>, letters});
  if (!saturates) return;
  table.add(name + ".sat.f32", {E::template run<V::sat>, letters});
  table.add(name + ".ftz.sat.f32", {E::template run<V::ftz_sat>, letters});
}

template <auto kFunction, class... In>
void add_double(ModelTable& table, const std::string& name) {
  table.add(name + ".f64",
            {Elementwise<double, In...>::template run<Variant<kFunction>::plain>, std::string(1 + sizeof...(In), 'd')});
}

// Signs are bits: NaN keeps its payload.
constexpr auto kCopySign32 = [](std::uint32_t a, std::uint32_t b) { return (a & 0x80000000u) | (b & 0x7FFFFFFFu); };
constexpr auto kCopySign64 = [](std::uint64_t a, std::uint64_t b) { return (a & 1ull << 63) | (b & ~(1ull << 63)); };
constexpr auto kFinite32 = [](float a) { return std::isfinite(a); };
constexpr auto kFinite64 = [](double a) { return std::isfinite(a); };
constexpr auto kInfinite32 = [](float a) { return std::isinf(a); };
constexpr auto kInfinite64 = [](double a) { return std::isinf(a); };
constexpr auto kNan32Test = [](float a) { return std::isnan(a); };
constexpr auto kNan64Test = [](double a) { return std::isnan(a); };

template <class T, auto kFunction>
void test(Warp& warp, const Instruction& instruction, Mask lanes) {
  Mask& out = warp.predicate(instruction.slots[0]);
  const T* in = warp.lanes<T>(instruction.slots[1]);
  for_each_lane(lanes,
                [&](int lane) { out = (out & ~(Mask{1} << lane)) | static_cast<Mask>(kFunction(in[lane])) << lane; });
}

}  // namespace

void add_floating_models(ModelTable& table) {
  for (const char* rounding : {"", ".rn"}) {
    const std::string r = rounding;
    add_single<kAdd, float, float>(table, "add" + r, true);
    add_single<kSub, float, float>(table, "sub" + r, true);
    add_single<kMul, float, float>(table, "mul" + r, true);
    add_double<kAdd, double, double>(table, "add" + r);
    add_double<kSub, double, double>(table, "sub" + r);
    add_double<kMul, double, double>(table, "mul" + r);
  }
  add_single<kFma, float, float, float>(table, "fma.rn", true);
  add_double<kFma, double, double, double>(table, "fma.rn");
  add_single<kDiv, float, float>(table, "div.rn", false);
  add_double<kDiv, double, double>(table, "div.rn");
  add_single<kSqrt, float>(table, "sqrt.rn", false);
  add_double<kSqrt, double>(table, "sqrt.rn");
  add_single<kRcp, float>(table, "rcp.rn", false);
  add_double<kRcp, double>(table, "rcp.rn");
  add_single<kMin, float, float>(table, "min", false);
  add_single<kMax, float, float>(table, "max", false);
  add_double<kMin, double, double>(table, "min");
  add_double<kMax, double, double>(table, "max");
  add_single<kMinNan, float, float>(table, "min.NaN", false);
  add_single<kMaxNan, float, float>(table, "max.NaN", false);
  add_single<kAbs, float>(table, "abs", false);
  add_single<kNeg, float>(table, "neg", false);
  add_double<kAbs, double>(table, "abs");
  add_double<kNeg, double>(table, "neg");
  for (const std::string name : {"min", "max"}) {  // PTX has the modifiers in another order
    table.add(name + ".ftz.NaN.f32", *table.find(name + ".NaN.ftz.f32"));
    table.remove(name + ".NaN.ftz.f32");
  }
  table.add("copysign.f32", {Elementwise<std::uint32_t, std::uint32_t, std::uint32_t>::run<kCopySign32>, "www"});
  table.add("copysign.f64", {Elementwise<std::uint64_t, std::uint64_t, std::uint64_t>::run<kCopySign64>, "ddd"});
  table.add("testp.finite.f32", {test<float, kFinite32>, "pw"});
  table.add("testp.finite.f64", {test<double, kFinite64>, "pd"});
  table.add("testp.infinite.f32", {test<float, kInfinite32>, "pw"});
  table.add("testp.infinite.f64", {test<double, kInfinite64>, "pd"});
  table.add("testp.notanumber.f32", {test<float, kNan32Test>, "pw"});
  table.add("testp.notanumber.f64", {test<double, kNan64Test>, "pd"});
}

}  // namespace trireme::gpu
