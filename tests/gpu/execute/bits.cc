// Logic, shifts and bit fields: PTX ISA, "Logic and Shift Instructions" and the bit instructions of integer arithmetic.
#include <algorithm>
#include <bit>

#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

template <class T>
constexpr U32 kBits = sizeof(T) * 8;

// Shifts by more than the width give what shifting bit after bit would.
template <class T>
struct Of {
  using S = std::make_signed_t<T>;
  static constexpr auto bitwise_and = [](T a, T b) { return static_cast<T>(a & b); };
  static constexpr auto bitwise_or = [](T a, T b) { return static_cast<T>(a | b); };
  static constexpr auto bitwise_xor = [](T a, T b) { return static_cast<T>(a ^ b); };
  static constexpr auto bitwise_not = [](T a) { return static_cast<T>(~a); };
  static constexpr auto is_zero = [](T a) { return static_cast<T>(a == 0 ? 1 : 0); };
  static constexpr auto shl = [](T a, U32 n) { return n >= kBits<T> ? T{0} : static_cast<T>(a << n); };
  static constexpr auto shr = [](T a, U32 n) { return n >= kBits<T> ? T{0} : static_cast<T>(a >> n); };
  static constexpr auto shift_sign = [](S a, U32 n) { return static_cast<S>(a >> std::min(n, kBits<T> - 1)); };
  static constexpr auto popc = [](T a) { return static_cast<U32>(std::popcount(a)); };
  static constexpr auto clz = [](T a) { return static_cast<U32>(std::countl_zero(a)); };
  static constexpr auto brev = [](T a) {
    T reversed = 0;
    for (U32 i = 0; i < kBits<T>; ++i) reversed |= (a >> i & 1) << (kBits<T> - 1 - i);
    return reversed;
  };
  static constexpr auto bfind = [](T a) {
    return a == 0 ? ~U32{0} : static_cast<U32>(kBits<T> - 1 - std::countl_zero(a));
  };
  static constexpr auto bfind_sign = [](S a) { return bfind(static_cast<T>(a < 0 ? ~a : a)); };
  static constexpr auto shiftamt = [](T a) { return a == 0 ? ~U32{0} : static_cast<U32>(std::countl_zero(a)); };
  static constexpr auto shiftamt_sign = [](S a) { return shiftamt(static_cast<T>(a < 0 ? ~a : a)); };
  static constexpr auto bfe = [](T a, U32 b, U32 c) {
    const U32 position = b & 0xFF;
    const U32 length = std::min(c & 0xFF, kBits<T>);
    if (position >= kBits<T> || length == 0) return T{0};
    const T field = a >> position;
    return length == kBits<T> ? field : static_cast<T>(field & ((T{1} << length) - 1));
  };
  // Beyond the value's end lies its sign; so it does above a field that ends before.
  static constexpr auto bfe_sign = [](S a, U32 b, U32 c) {
    const U32 position = b & 0xFF;
    const U32 length = c & 0xFF;
    if (length == 0) return S{0};
    const U32 sign_at = std::min(position + length - 1, kBits<T> - 1);
    const S sign = a >> sign_at & 1 ? S{-1} : S{0};
    const T kept = position >= kBits<T> ? T{0} : bfe(static_cast<T>(a), position, length);
    const U32 width = position >= kBits<T> ? 0 : std::min(length, kBits<T> - position);
    return width >= kBits<T> ? static_cast<S>(kept) : static_cast<S>(kept | (static_cast<T>(sign) << width));
  };
  static constexpr auto bfi = [](T a, T b, U32 c, U32 d) {
    const U32 position = c & 0xFF;
    const U32 length = std::min(d & 0xFF, kBits<T>);
    if (position >= kBits<T> || length == 0) return b;
    const T ones = length == kBits<T> ? ~T{0} : static_cast<T>((T{1} << length) - 1);
    const T field = ones << position;
    return static_cast<T>((b & ~field) | (a << position & field));
  };
};

template <class T>
void add_type(ModelTable& table, const std::string& bits, const std::string& l) {
  using O = Of<T>;
  using S = typename O::S;
  using E2 = Elementwise<T, T, T>;
  table.add("and.b" + bits, {E2::template run<O::bitwise_and>, l + l + l});
  table.add("or.b" + bits, {E2::template run<O::bitwise_or>, l + l + l});
  table.add("xor.b" + bits, {E2::template run<O::bitwise_xor>, l + l + l});
  table.add("not.b" + bits, {Elementwise<T, T>::template run<O::bitwise_not>, l + l});
  table.add("cnot.b" + bits, {Elementwise<T, T>::template run<O::is_zero>, l + l});
  table.add("shl.b" + bits, {Elementwise<T, T, U32>::template run<O::shl>, l + l + "w"});
  for (const char* kind : {"shr.u", "shr.b"}) {
    table.add(kind + bits, {Elementwise<T, T, U32>::template run<O::shr>, l + l + "w"});
  }
  table.add("shr.s" + bits, {Elementwise<S, S, U32>::template run<O::shift_sign>, l + l + "w"});
  if constexpr (sizeof(T) >= 4) {
    table.add("popc.b" + bits, {Elementwise<U32, T>::template run<O::popc>, "w" + l});
    table.add("clz.b" + bits, {Elementwise<U32, T>::template run<O::clz>, "w" + l});
    table.add("brev.b" + bits, {Elementwise<T, T>::template run<O::brev>, l + l});
    table.add("bfind.u" + bits, {Elementwise<U32, T>::template run<O::bfind>, "w" + l});
    table.add("bfind.s" + bits, {Elementwise<U32, S>::template run<O::bfind_sign>, "w" + l});
    table.add("bfind.shiftamt.u" + bits, {Elementwise<U32, T>::template run<O::shiftamt>, "w" + l});
    table.add("bfind.shiftamt.s" + bits, {Elementwise<U32, S>::template run<O::shiftamt_sign>, "w" + l});
    table.add("bfe.u" + bits, {Elementwise<T, T, U32, U32>::template run<O::bfe>, l + l + "ww"});
    table.add("bfe.s" + bits, {Elementwise<S, S, U32, U32>::template run<O::bfe_sign>, l + l + "ww"});
    table.add("bfi.b" + bits, {Elementwise<T, T, T, U32, U32>::template run<O::bfi>, l + l + l + "ww"});
  }
}

// Of the 64 bits b:a.
constexpr auto kShiftLeftWrap = [](U32 a, U32 b, U32 n) {
  return static_cast<U32>((U64{b} << 32 | a) << (n & 31) >> 32);
};
constexpr auto kShiftLeftClamp = [](U32 a, U32 b, U32 n) {
  return static_cast<U32>((U64{b} << 32 | a) << std::min(n, U32{32}) >> 32);
};
constexpr auto kShiftRightWrap = [](U32 a, U32 b, U32 n) { return static_cast<U32>((U64{b} << 32 | a) >> (n & 31)); };
constexpr auto kShiftRightClamp = [](U32 a, U32 b, U32 n) {
  return static_cast<U32>((U64{b} << 32 | a) >> std::min(n, U32{32}));
};

// Four selectors of 4 bits: which of the 8 bytes of b:a, or (bit 3) that byte's sign eight times.
constexpr auto kPermute = [](U32 a, U32 b, U32 selectors) {
  const U64 bytes = U64{b} << 32 | a;
  U32 out = 0;
  for (U32 i = 0; i < 4; ++i) {
    const U32 selector = selectors >> (4 * i);
    const auto byte = static_cast<U32>(bytes >> (8 * (selector & 7)) & 0xFF);
    out |= ((selector & 8) == 0 ? byte : byte >= 0x80 ? 0xFFu : 0u) << (8 * i);
  }
  return out;
};

// Bit i of a, b and c pick a bit of the table: 4 a + 2 b + c.
void three_input_logic(Warp& warp, const Instruction& instruction, Mask lanes) {
  const U32* a = warp.lanes<U32>(instruction.slots[1]);
  const U32* b = warp.lanes<U32>(instruction.slots[2]);
  const U32* c = warp.lanes<U32>(instruction.slots[3]);
  U32* out = warp.lanes<U32>(instruction.slots[0]);
  const U32 table = instruction.slots[4];
  for_each_lane(lanes, [&](int lane) {
    U32 value = 0;
    for (U32 row = 0; row < 8; ++row) {
      if ((table >> row & 1) == 0) continue;
      value |= (row & 4 ? a[lane] : ~a[lane]) & (row & 2 ? b[lane] : ~b[lane]) & (row & 1 ? c[lane] : ~c[lane]);
    }
    out[lane] = value;
  });
}

template <auto kFunction>
void predicates(Warp& warp, const Instruction& instruction, Mask lanes) {
  Mask& out = warp.predicate(instruction.slots[0]);
  const Mask a = warp.predicate(instruction.slots[1]);
  const Mask value = kFunction(a, instruction.slots[2] == kNoSlot ? a : warp.predicate(instruction.slots[2]));
  out = (out & ~lanes) | (value & lanes);
}

constexpr auto kNot = [](Mask a, Mask) { return ~a; };
constexpr auto kMove = [](Mask a, Mask) { return a; };

}  // namespace

void add_bit_models(ModelTable& table) {
  add_type<U16>(table, "16", "h");
  add_type<U32>(table, "32", "w");
  add_type<U64>(table, "64", "d");
  using Shift = Elementwise<U32, U32, U32, U32>;
  table.add("shf.l.wrap.b32", {Shift::run<kShiftLeftWrap>, "wwww"});
  table.add("shf.l.clamp.b32", {Shift::run<kShiftLeftClamp>, "wwww"});
  table.add("shf.r.wrap.b32", {Shift::run<kShiftRightWrap>, "wwww"});
  table.add("shf.r.clamp.b32", {Shift::run<kShiftRightClamp>, "wwww"});
  table.add("prmt.b32", {Shift::run<kPermute>, "wwww"});
  table.add("lop3.b32", {three_input_logic, "wwwwi"});
  table.add("and.pred", {predicates<Of<Mask>::bitwise_and>, "ppp"});
  table.add("or.pred", {predicates<Of<Mask>::bitwise_or>, "ppp"});
  table.add("xor.pred", {predicates<Of<Mask>::bitwise_xor>, "ppp"});
  table.add("not.pred", {predicates<kNot>, "pp"});
  table.add("mov.pred", {predicates<kMove>, "pp"});
}

}  // namespace trireme::gpu
