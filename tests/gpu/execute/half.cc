// f16, bf16 and their pairs in 32 bits: PTX ISA, "Half Precision Floating Point Instructions". Sums and fused products
// are exact or rounded to odd in fp64, then rounded once. On sm_80 add, sub and mul exist for f16 only; for bf16 nvcc
// writes fma.
#include <cmath>
#include <type_traits>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

using U16 = std::uint16_t;
using U32 = std::uint32_t;

struct HalfType {
  static double wide(U16 bits) { return from_half(bits); }
  static U16 narrow(double x) { return static_cast<U16>(narrowed(x, kHalf, Rounding::kNearest)); }
  static U16 flush(U16 bits) { return (bits & 0x7C00) == 0 ? static_cast<U16>(bits & 0x8000) : bits; }
};
struct BrainType {
  static double wide(U16 bits) { return from_brain(bits); }
  static U16 narrow(double x) { return static_cast<U16>(narrowed(x, kBrain, Rounding::kNearest)); }
  static U16 flush(U16 bits) { return (bits & 0x7F80) == 0 ? static_cast<U16>(bits & 0x8000) : bits; }
};

constexpr auto kAdd = [](double a, double b) { return add_to_odd(a, b); };
constexpr auto kSub = [](double a, double b) { return add_to_odd(a, -b); };
constexpr auto kMul = [](double a, double b) { return a * b; };
constexpr auto kFma = [](double a, double b, double c) { return add_to_odd(a * b, c); };
constexpr auto kFmaRelu = [](double a, double b, double c) {
  const double sum = add_to_odd(a * b, c);
  return sum < 0 ? 0.0 : sum;
};
constexpr auto kMin = [](double a, double b) {
  if (a != a) return b;
  if (b != b) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
};
constexpr auto kMax = [](double a, double b) {
  if (a != a) return b;
  if (b != b) return a;
  return a > b || (a == b && !std::signbit(a)) ? a : b;
};
constexpr auto kMinNan = [](double a, double b) { return a != a || b != b ? NAN : kMin(a, b); };
constexpr auto kMaxNan = [](double a, double b) { return a != a || b != b ? NAN : kMax(a, b); };

template <class Type, auto kFunction>
struct On {
  static constexpr auto one = [](auto... x) { return Type::narrow(kFunction(Type::wide(x)...)); };
  static constexpr auto two = [](auto... x) {
    const U32 low = one(static_cast<U16>(x)...);
    const U32 high = one(static_cast<U16>(x >> 16)...);
    return low | high << 16;
  };
  static constexpr auto one_ftz = [](auto... x) { return Type::flush(one(Type::flush(x)...)); };
  static constexpr auto two_ftz = [](auto... x) {
    const U32 low = one_ftz(static_cast<U16>(x)...);
    const U32 high = one_ftz(static_cast<U16>(x >> 16)...);
    return low | high << 16;
  };
};

template <class>
using Pair = U32;

// On one value and on two; In is U16 as often as there are operands.
template <class Type, auto kFunction, class... In>
void add(ModelTable& table, const std::string& name, const std::string& type) {
  using O = On<Type, kFunction>;
  using One = Elementwise<U16, In...>;
  using Two = Elementwise<U32, Pair<In>...>;
  const std::string h(1 + sizeof...(In), 'h');
  const std::string w(1 + sizeof...(In), 'w');
  table.add(name + type, {One::template run<O::one>, h});
  table.add(name + type + "x2", {Two::template run<O::two>, w});
  if constexpr (std::is_same_v<Type, HalfType>) {
    table.add(name + ".ftz" + type, {One::template run<O::one_ftz>, h});
    table.add(name + ".ftz" + type + "x2", {Two::template run<O::two_ftz>, w});
  }
}

constexpr auto kNeg16 = [](U16 a) { return static_cast<U16>(a ^ 0x8000); };
constexpr auto kNeg32 = [](U32 a) { return a ^ 0x80008000u; };
constexpr auto kAbs16 = [](U16 a) { return static_cast<U16>(a & 0x7FFF); };
constexpr auto kAbs32 = [](U32 a) { return a & 0x7FFF7FFFu; };

}  // namespace

void add_half_models(ModelTable& table) {
  for (const char* rounding : {"", ".rn"}) {
    const std::string r = rounding;
    add<HalfType, kAdd, U16, U16>(table, "add" + r, ".f16");
    add<HalfType, kSub, U16, U16>(table, "sub" + r, ".f16");
    add<HalfType, kMul, U16, U16>(table, "mul" + r, ".f16");
  }
  add<HalfType, kFma, U16, U16, U16>(table, "fma.rn", ".f16");
  add<HalfType, kFmaRelu, U16, U16, U16>(table, "fma.rn", ".relu.f16");
  add<BrainType, kFma, U16, U16, U16>(table, "fma.rn", ".bf16");
  add<BrainType, kFmaRelu, U16, U16, U16>(table, "fma.rn", ".relu.bf16");
  add<HalfType, kMin, U16, U16>(table, "min", ".f16");
  add<HalfType, kMax, U16, U16>(table, "max", ".f16");
  add<HalfType, kMinNan, U16, U16>(table, "min", ".NaN.f16");
  add<HalfType, kMaxNan, U16, U16>(table, "max", ".NaN.f16");
  add<BrainType, kMin, U16, U16>(table, "min", ".bf16");
  add<BrainType, kMax, U16, U16>(table, "max", ".bf16");
  add<BrainType, kMinNan, U16, U16>(table, "min", ".NaN.bf16");
  add<BrainType, kMaxNan, U16, U16>(table, "max", ".NaN.bf16");
  for (const char* type : {".f16", ".bf16"}) {
    const std::string t = type;
    table.add("neg" + t, {Elementwise<U16, U16>::run<kNeg16>, "hh"});
    table.add("abs" + t, {Elementwise<U16, U16>::run<kAbs16>, "hh"});
    table.add("neg" + t + "x2", {Elementwise<U32, U32>::run<kNeg32>, "ww"});
    table.add("abs" + t + "x2", {Elementwise<U32, U32>::run<kAbs32>, "ww"});
  }
}

}  // namespace trireme::gpu
