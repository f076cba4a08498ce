// Arithmetic rounded towards zero, down or up, which compilers' headers use for range reduction. The processor's
// rounding mode is changed around each lane's operation; the barriers keep the compiler from moving it out.
#include <cfenv>
#include <cmath>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

class RoundingMode {
 public:
  explicit RoundingMode(int mode) : before_(std::fegetround()) { std::fesetround(mode); }
  ~RoundingMode() { std::fesetround(before_); }
  RoundingMode(const RoundingMode&) = delete;
  RoundingMode& operator=(const RoundingMode&) = delete;

 private:
  int before_;
};

template <class T>
T opaque(T value) {
  volatile T kept = value;
  return kept;
}

template <int kMode, class T, class Function, class... In>
T rounded(const Function& function, In... in) {
  const RoundingMode mode(kMode);
  return opaque<T>(function(opaque<In>(in)...));
}

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMul = [](auto a, auto b) { return a * b; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kDiv = [](auto a, auto b) { return a / b; };
constexpr auto kSqrt = [](auto a) { return std::sqrt(a); };
constexpr auto kRcp = [](auto a) { return decltype(a){1} / a; };

template <class T, int kMode, auto kFunction, bool kFlush, class... In>
void lane_by_lane(Warp& warp, const Instruction& instruction, Mask lanes) {
  const auto all = [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
    T* out = warp.lanes<T>(instruction.slots[0]);
    for_each_lane(lanes, [&](int lane) {
      if constexpr (kFlush) {
        out[lane] = flushed(
            canonical(rounded<kMode, T>(kFunction, flushed(warp.lanes<In>(instruction.slots[kIndex + 1])[lane])...)));
      } else {
        out[lane] = canonical(rounded<kMode, T>(kFunction, warp.lanes<In>(instruction.slots[kIndex + 1])[lane]...));
      }
    });
  };
  all(std::index_sequence_for<In...>{});
}

template <int kMode, auto kFunction, class T, class... In>
void add_type(ModelTable& table, const std::string& name, const char* type) {
  const std::string letters(1 + sizeof...(In), sizeof(T) == 4 ? 'w' : 'd');
  table.add(name + type, {lane_by_lane<T, kMode, kFunction, false, In...>, letters});
  if constexpr (sizeof(T) == 4) {
    table.add(name + ".ftz" + type, {lane_by_lane<T, kMode, kFunction, true, In...>, letters});
  }
}

template <int kMode, class T>
void add_mode(ModelTable& table, const std::string& mode, const char* type) {
  add_type<kMode, kAdd, T, T, T>(table, "add" + mode, type);
  add_type<kMode, kSub, T, T, T>(table, "sub" + mode, type);
  add_type<kMode, kMul, T, T, T>(table, "mul" + mode, type);
  add_type<kMode, kFma, T, T, T, T>(table, "fma" + mode, type);
  add_type<kMode, kDiv, T, T, T>(table, "div" + mode, type);
  add_type<kMode, kSqrt, T, T>(table, "sqrt" + mode, type);
  add_type<kMode, kRcp, T, T>(table, "rcp" + mode, type);
}

}  // namespace

void add_rounded_models(ModelTable& table) {
  add_mode<FE_TOWARDZERO, float>(table, ".rz", ".f32");
  add_mode<FE_DOWNWARD, float>(table, ".rm", ".f32");
  add_mode<FE_UPWARD, float>(table, ".rp", ".f32");
  add_mode<FE_TOWARDZERO, double>(table, ".rz", ".f64");
  add_mode<FE_DOWNWARD, double>(table, ".rm", ".f64");
  add_mode<FE_UPWARD, double>(table, ".rp", ".f64");
}

}  // namespace trireme::gpu
