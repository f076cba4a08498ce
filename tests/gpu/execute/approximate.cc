// The .approx functions and div.full, which a GPU computes to a stated error. Here they are computed in fp64 and
// rounded once: correct to the last bit in all but rare near-ties, and always closer than any GPU promises. A result
// that holds only because of that is not found by the stand-in; tolerances must come from the PTX ISA's tables of
// errors.
#include <cmath>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

constexpr auto kExp2 = [](double x) { return std::exp2(x); };
constexpr auto kLog2 = [](double x) { return std::log2(x); };
constexpr auto kSin = [](double x) { return std::sin(x); };
constexpr auto kCos = [](double x) { return std::cos(x); };
constexpr auto kTanh = [](double x) { return std::tanh(x); };
constexpr auto kRcp = [](double x) { return 1 / x; };
constexpr auto kSqrt = [](double x) { return std::sqrt(x); };
constexpr auto kRsqrt = [](double x) { return 1 / std::sqrt(x); };
constexpr auto kDiv = [](double a, double b) { return a / b; };

template <auto kFunction>
struct Variant {
  static constexpr auto plain = [](auto... x) { return canonical(static_cast<float>(kFunction(x...))); };
  static constexpr auto ftz = [](auto... x) {
    return flushed(canonical(static_cast<float>(kFunction(flushed(x)...))));
  };
};

template <auto kFunction, class... In>
void add(ModelTable& table, const std::string& name) {
  const std::string letters(1 + sizeof...(In), 'w');
  table.add(name + ".f32", {Elementwise<float, In...>::template run<Variant<kFunction>::plain>, letters});
  table.add(name + ".ftz.f32", {Elementwise<float, In...>::template run<Variant<kFunction>::ftz>, letters});
}

// Only the upper half of the argument counts, and only that of the result is not zero.
template <auto kFunction>
struct UpperHalf {
  static constexpr auto apply = [](std::uint64_t bits) {
    bits &= ~std::uint64_t{0xFFFFFFFF};
    const std::uint64_t exponent = bits >> 52 & 0x7FF;
    if (exponent == 0) bits &= std::uint64_t{1} << 63;
    const double value = kFunction(std::bit_cast<double>(bits));
    std::uint64_t result = std::bit_cast<std::uint64_t>(value);
    if (value != value) return std::uint64_t{0x7FFFFFFF} << 32;
    if ((result >> 52 & 0x7FF) == 0) return result & std::uint64_t{1} << 63;
    return result & ~std::uint64_t{0xFFFFFFFF};
  };
};

}  // namespace

void add_approximate_models(ModelTable& table) {
  add<kExp2, float>(table, "ex2.approx");
  add<kLog2, float>(table, "lg2.approx");
  add<kSin, float>(table, "sin.approx");
  add<kCos, float>(table, "cos.approx");
  add<kRcp, float>(table, "rcp.approx");
  add<kSqrt, float>(table, "sqrt.approx");
  add<kRsqrt, float>(table, "rsqrt.approx");
  add<kDiv, float, float>(table, "div.approx");
  add<kDiv, float, float>(table, "div.full");
  table.add("tanh.approx.f32", {Elementwise<float, float>::run<Variant<kTanh>::plain>, "ww"});
  using Wide = Elementwise<std::uint64_t, std::uint64_t>;
  table.add("rcp.approx.ftz.f64", {Wide::run<UpperHalf<kRcp>::apply>, "dd"});
  table.add("rsqrt.approx.ftz.f64", {Wide::run<UpperHalf<kRsqrt>::apply>, "dd"});
}

}  // namespace trireme::gpu
