// Integer arithmetic: PTX ISA, "Integer Arithmetic Instructions" and "Extended-Precision Integer Arithmetic
// Instructions". Everything wraps; what the ISA leaves open for a divisor of zero is all ones here, as machines have
// it.
#include <cstdlib>
#include <limits>
#include <type_traits>

#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

template <class T>
struct Twice;
template <>
struct Twice<std::int16_t> {
  using type = std::int32_t;
};
template <>
struct Twice<std::uint16_t> {
  using type = std::uint32_t;
};
template <>
struct Twice<std::int32_t> {
  using type = std::int64_t;
};
template <>
struct Twice<std::uint32_t> {
  using type = std::uint64_t;
};
template <>
struct Twice<std::int64_t> {
  using type = __int128;
};
template <>
struct Twice<std::uint64_t> {
  using type = unsigned __int128;
};

template <class T>
constexpr int kBits = sizeof(T) * 8;

// In unsigned arithmetic, which wraps; 16-bit values must not be widened to int on the way.
template <class T>
using Raw = std::conditional_t<(sizeof(T) <= 4), std::uint32_t,
                               std::conditional_t<sizeof(T) == 8, std::uint64_t, unsigned __int128>>;

template <class T>
struct Of {
  using W = typename Twice<T>::type;
  static constexpr auto add = [](T a, T b) { return static_cast<T>(Raw<T>(a) + Raw<T>(b)); };
  static constexpr auto sub = [](T a, T b) { return static_cast<T>(Raw<T>(a) - Raw<T>(b)); };
  static constexpr auto mul_lo = [](T a, T b) { return static_cast<T>(Raw<T>(a) * Raw<T>(b)); };
  static constexpr auto mul_hi = [](T a, T b) { return static_cast<T>(W(a) * W(b) >> kBits<T>); };
  static constexpr auto mul_wide = [](T a, T b) { return static_cast<W>(W(a) * W(b)); };
  static constexpr auto mad_lo = [](T a, T b, T c) { return static_cast<T>(Raw<T>(a) * Raw<T>(b) + Raw<T>(c)); };
  static constexpr auto mad_hi = [](T a, T b, T c) { return add(mul_hi(a, b), c); };
  static constexpr auto mad_wide = [](T a, T b, W c) { return static_cast<W>(Raw<W>(W(a) * W(b)) + Raw<W>(c)); };
  static constexpr auto div = [](T a, T b) {
    if (b == 0) return static_cast<T>(-1);
    if (std::is_signed_v<T> && b == T(-1)) return static_cast<T>(-Raw<T>(a));
    return static_cast<T>(a / b);
  };
  static constexpr auto rem = [](T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == T(-1)) return T{0};
    return static_cast<T>(a % b);
  };
  static constexpr auto abs = [](T a) { return a < 0 ? static_cast<T>(-Raw<T>(a)) : a; };
  static constexpr auto neg = [](T a) { return static_cast<T>(-Raw<T>(a)); };
  static constexpr auto min = [](T a, T b) { return a < b ? a : b; };
  static constexpr auto max = [](T a, T b) { return a < b ? b : a; };
  static constexpr auto sad = [](T a, T b, T c) {
    return static_cast<T>(Raw<T>(c) + (a < b ? Raw<T>(b) - Raw<T>(a) : Raw<T>(a) - Raw<T>(b)));
  };
  static constexpr auto saturated_add = [](T a, T b) {
    const W sum = W(a) + W(b);
    constexpr W least = std::numeric_limits<T>::min();
    constexpr W most = std::numeric_limits<T>::max();
    return static_cast<T>(sum < least ? least : sum > most ? most : sum);
  };
  static constexpr auto saturated_sub = [](T a, T b) {
    const W difference = W(a) - W(b);
    constexpr W least = std::numeric_limits<T>::min();
    constexpr W most = std::numeric_limits<T>::max();
    return static_cast<T>(difference < least ? least : difference > most ? most : difference);
  };
};

template <class T>
void add_type(ModelTable& table, const std::string& type, const std::string& letter) {
  using O = Of<T>;
  using E1 = Elementwise<T, T>;
  using E2 = Elementwise<T, T, T>;
  using E3 = Elementwise<T, T, T, T>;
  const std::string two = letter + letter;
  table.add("add." + type, {E2::template run<O::add>, two + letter});
  table.add("sub." + type, {E2::template run<O::sub>, two + letter});
  table.add("mul.lo." + type, {E2::template run<O::mul_lo>, two + letter});
  table.add("mul.hi." + type, {E2::template run<O::mul_hi>, two + letter});
  table.add("mad.lo." + type, {E3::template run<O::mad_lo>, two + two});
  table.add("mad.hi." + type, {E3::template run<O::mad_hi>, two + two});
  table.add("div." + type, {E2::template run<O::div>, two + letter});
  table.add("rem." + type, {E2::template run<O::rem>, two + letter});
  table.add("min." + type, {E2::template run<O::min>, two + letter});
  table.add("max." + type, {E2::template run<O::max>, two + letter});
  table.add("sad." + type, {E3::template run<O::sad>, two + two});
  if constexpr (std::is_signed_v<T>) {
    table.add("abs." + type, {E1::template run<O::abs>, two});
    table.add("neg." + type, {E1::template run<O::neg>, two});
  }
  if constexpr (sizeof(T) < 8) {
    using W = typename Twice<T>::type;
    const std::string wide = letter == "h" ? "w" : "d";
    table.add("mul.wide." + type, {Elementwise<W, T, T>::template run<O::mul_wide>, wide + two});
    table.add("mad.wide." + type, {Elementwise<W, T, T, W>::template run<O::mad_wide>, wide + two + wide});
  }
}

// PTX has one carry a thread.
template <class T>
void carried(Warp& warp, const Instruction& instruction, Mask lanes) {
  using W = unsigned __int128;
  const auto* a = warp.lanes<T>(instruction.slots[1]);
  const auto* b = warp.lanes<T>(instruction.slots[2]);
  const auto* c = warp.lanes<T>(instruction.slots[3]);
  T* out = warp.lanes<T>(instruction.slots[0]);
  const bool takes = (instruction.extra & 1) != 0;
  const bool leaves = (instruction.extra & 2) != 0;
  const int kind = instruction.extra >> 2;  // 0 add, 1 sub, 2 mad.lo, 3 mad.hi
  for_each_lane(lanes, [&](int lane) {
    const W carry = takes ? warp.carry >> lane & 1 : 0;
    W sum = 0;
    if (kind == 0) sum = W{a[lane]} + b[lane] + carry;
    if (kind == 1) sum = W{a[lane]} - b[lane] - carry;
    if (kind == 2) sum = W{static_cast<T>(W{a[lane]} * b[lane])} + c[lane] + carry;
    if (kind == 3) sum = (W{a[lane]} * b[lane] >> kBits<T>)+c[lane] + carry;
    out[lane] = static_cast<T>(sum);
    if (leaves) warp.carry = (warp.carry & ~(Mask{1} << lane)) | static_cast<Mask>(sum >> kBits<T> & 1) << lane;
  });
}

template <class T>
void add_carried(ModelTable& table, const std::string& type, const std::string& letter) {
  const std::string three = letter + letter + letter;
  const auto add = [&](const std::string& name, int kind, bool takes, bool leaves) {
    const auto extra = static_cast<std::uint8_t>(kind << 2 | (leaves ? 2 : 0) | (takes ? 1 : 0));
    table.add(name + type, {carried<T>, kind < 2 ? three : three + letter, Flow::kNext, extra});
  };
  add("add.cc.", 0, false, true);
  add("addc.", 0, true, false);
  add("addc.cc.", 0, true, true);
  add("sub.cc.", 1, false, true);
  add("subc.", 1, true, false);
  add("subc.cc.", 1, true, true);
  add("mad.lo.cc.", 2, false, true);
  add("madc.lo.", 2, true, false);
  add("madc.lo.cc.", 2, true, true);
  add("mad.hi.cc.", 3, false, true);
  add("madc.hi.", 3, true, false);
  add("madc.hi.cc.", 3, true, true);
}

}  // namespace

void add_integer_models(ModelTable& table) {
  add_type<std::int16_t>(table, "s16", "h");
  add_type<std::uint16_t>(table, "u16", "h");
  add_type<std::int32_t>(table, "s32", "w");
  add_type<std::uint32_t>(table, "u32", "w");
  add_type<std::int64_t>(table, "s64", "d");
  add_type<std::uint64_t>(table, "u64", "d");
  table.add("add.sat.s32",
            {Elementwise<std::int32_t, std::int32_t, std::int32_t>::run<Of<std::int32_t>::saturated_add>, "www"});
  table.add("sub.sat.s32",
            {Elementwise<std::int32_t, std::int32_t, std::int32_t>::run<Of<std::int32_t>::saturated_sub>, "www"});
  // The low halves and their carries do not depend on the sign; nvcc writes signed types only for the low ones.
  add_carried<std::uint32_t>(table, "u32", "w");
  add_carried<std::uint32_t>(table, "s32", "w");
  add_carried<std::uint64_t>(table, "u64", "d");
  for (const char* name : {"mad.hi.cc.s32", "madc.hi.s32", "madc.hi.cc.s32"}) table.remove(name);
}

}  // namespace trireme::gpu
