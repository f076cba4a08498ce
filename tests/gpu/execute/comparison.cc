// setp, set, selp and slct: PTX ISA, "Comparison and Selection Instructions". With a NaN the plain comparisons are
// false and those whose name ends in u are true.
#include <cmath>
#include <string>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

enum class Test : std::uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };
enum class Combine : std::uint8_t { kNone, kAnd, kOr, kXor };

template <class T>
bool holds(Test test, T a, T b) {
  switch (test) {
    case Test::kEq:
      return a == b;
    case Test::kNe:
      return a < b || a > b;
    case Test::kLt:
      return a < b;
    case Test::kLe:
      return a <= b;
    case Test::kGt:
      return a > b;
    case Test::kGe:
      return a >= b;
    case Test::kEqu:
      return !(a < b || a > b);
    case Test::kNeu:
      return !(a == b);
    case Test::kLtu:
      return !(a >= b);
    case Test::kLeu:
      return !(a > b);
    case Test::kGtu:
      return !(a <= b);
    case Test::kGeu:
      return !(a < b);
    case Test::kNum:
      return a == a && b == b;
    case Test::kNan:
      return a != a || b != b;
  }
  return false;
}

struct Plain {
  template <class T>
  static T of(T x) {
    return x;
  }
};
struct Flushing {
  static float of(float x) { return flushed(x); }
};
struct FromHalf {
  static float of(std::uint16_t x) { return from_half(x); }
};
struct FromBrain {
  static float of(std::uint16_t x) { return from_brain(x); }
};

template <class T, class Read, Test kTest>
Mask compare(Warp& warp, const Instruction& instruction, int first) {
  const T* a = warp.lanes<T>(instruction.slots[first]);
  const T* b = warp.lanes<T>(instruction.slots[first + 1]);
  Mask result = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    result |= static_cast<Mask>(holds(kTest, Read::of(a[lane]), Read::of(b[lane]))) << lane;
  }
  return result;
}

Mask combined(Combine combine, Mask test, Mask other) {
  switch (combine) {
    case Combine::kNone:
      return test;
    case Combine::kAnd:
      return test & other;
    case Combine::kOr:
      return test | other;
    case Combine::kXor:
      return test ^ other;
  }
  return test;
}

// p = (a test b) combine c; q = !(a test b) combine c.
template <class T, class Read, Test kTest>
void set_predicate(Warp& warp, const Instruction& instruction, Mask lanes) {
  const auto combine = static_cast<Combine>(instruction.extra);
  const Mask other = combine == Combine::kNone ? 0 : warp.predicate(instruction.slots[4]);
  const Mask result = compare<T, Read, kTest>(warp, instruction, 2);
  Mask& q = warp.predicate(instruction.slots[1]);
  q = (q & ~lanes) | (combined(combine, ~result, other) & lanes);
  Mask& p = warp.predicate(instruction.slots[0]);
  p = (p & ~lanes) | (combined(combine, result, other) & lanes);
}

// All ones, or 1.0: extra's high bit says which.
template <class T, class Read, Test kTest>
void set_register(Warp& warp, const Instruction& instruction, Mask lanes) {
  const bool is_float = (instruction.extra & 8) != 0;
  const auto combine = static_cast<Combine>(instruction.extra & 7);
  const Mask other = combine == Combine::kNone ? 0 : warp.predicate(instruction.slots[3]);
  const Mask result = combined(combine, compare<T, Read, kTest>(warp, instruction, 1), other);
  auto* out = warp.lanes<std::uint32_t>(instruction.slots[0]);
  const std::uint32_t yes = is_float ? std::bit_cast<std::uint32_t>(1.0f) : ~0u;
  for_each_lane(lanes, [&](int lane) { out[lane] = result >> lane & 1 ? yes : 0; });
}

template <class T, class Read, Test kTest>
void add_test(ModelTable& table, const std::string& test, const std::string& type, char letter) {
  const std::string two(2, letter);
  const std::pair<const char*, Combine> combines[] = {
      {"", Combine::kNone}, {".and", Combine::kAnd}, {".or", Combine::kOr}, {".xor", Combine::kXor}};
  for (const auto& [name, combine] : combines) {
    const std::string more = combine == Combine::kNone ? "" : "p";
    const auto extra = static_cast<std::uint8_t>(combine);
    const std::string tail = "." + test + name + (std::is_same_v<Read, Flushing> ? ".ftz" : "");
    table.add("setp" + tail + "." + type, {set_predicate<T, Read, kTest>, "P" + two + more, Flow::kNext, extra});
    if (sizeof(T) < 4) continue;
    for (const char* integer : {".u32.", ".s32."}) {
      table.add("set" + tail + integer + type, {set_register<T, Read, kTest>, "w" + two + more, Flow::kNext, extra});
    }
    table.add("set" + tail + ".f32." + type,
              {set_register<T, Read, kTest>, "w" + two + more, Flow::kNext, static_cast<std::uint8_t>(extra | 8)});
  }
}

template <class T, class Read>
void add_ordered(ModelTable& table, const std::string& type, char letter) {
  add_test<T, Read, Test::kEq>(table, "eq", type, letter);
  add_test<T, Read, Test::kNe>(table, "ne", type, letter);
  add_test<T, Read, Test::kLt>(table, "lt", type, letter);
  add_test<T, Read, Test::kLe>(table, "le", type, letter);
  add_test<T, Read, Test::kGt>(table, "gt", type, letter);
  add_test<T, Read, Test::kGe>(table, "ge", type, letter);
}

template <class T, class Read>
void add_unordered(ModelTable& table, const std::string& type, char letter) {
  add_ordered<T, Read>(table, type, letter);
  add_test<T, Read, Test::kEqu>(table, "equ", type, letter);
  add_test<T, Read, Test::kNeu>(table, "neu", type, letter);
  add_test<T, Read, Test::kLtu>(table, "ltu", type, letter);
  add_test<T, Read, Test::kLeu>(table, "leu", type, letter);
  add_test<T, Read, Test::kGtu>(table, "gtu", type, letter);
  add_test<T, Read, Test::kGeu>(table, "geu", type, letter);
  add_test<T, Read, Test::kNum>(table, "num", type, letter);
  add_test<T, Read, Test::kNan>(table, "nan", type, letter);
}

// lo, ls, hi and hs are names of the unsigned comparisons.
template <class T>
void add_unsigned(ModelTable& table, const std::string& type, char letter) {
  add_ordered<T, Plain>(table, type, letter);
  add_test<T, Plain, Test::kLt>(table, "lo", type, letter);
  add_test<T, Plain, Test::kLe>(table, "ls", type, letter);
  add_test<T, Plain, Test::kGt>(table, "hi", type, letter);
  add_test<T, Plain, Test::kGe>(table, "hs", type, letter);
}

template <class T>
void add_equality(ModelTable& table, const std::string& type, char letter) {
  add_test<T, Plain, Test::kEq>(table, "eq", type, letter);
  add_test<T, Plain, Test::kNe>(table, "ne", type, letter);
}

template <class T>
void select(Warp& warp, const Instruction& instruction, Mask lanes) {
  const T* a = warp.lanes<T>(instruction.slots[1]);
  const T* b = warp.lanes<T>(instruction.slots[2]);
  const Mask first = warp.predicate(instruction.slots[3]);
  T* out = warp.lanes<T>(instruction.slots[0]);
  for (int lane = 0; lane < kLanes; ++lane) {
    const T value = first >> lane & 1 ? a[lane] : b[lane];
    out[lane] = lanes >> lane & 1 ? value : out[lane];
  }
}

constexpr auto kSelectBySign32 = [](auto a, auto b, std::int32_t c) { return c >= 0 ? a : b; };
constexpr auto kSelectByFloat = [](auto a, auto b, float c) { return c >= 0 ? a : b; };

template <class T>
void add_select(ModelTable& table, const std::string& type, const std::string& l) {
  table.add("selp." + type, {select<T>, l + l + l + "p"});
  table.add("slct." + type + ".s32",
            {Elementwise<T, T, T, std::int32_t>::template run<kSelectBySign32>, l + l + l + "w"});
  table.add("slct." + type + ".f32", {Elementwise<T, T, T, float>::template run<kSelectByFloat>, l + l + l + "w"});
}

}  // namespace

void add_comparison_models(ModelTable& table) {
  add_ordered<std::int16_t, Plain>(table, "s16", 'h');
  add_ordered<std::int32_t, Plain>(table, "s32", 'w');
  add_ordered<std::int64_t, Plain>(table, "s64", 'd');
  add_unsigned<std::uint16_t>(table, "u16", 'h');
  add_unsigned<std::uint32_t>(table, "u32", 'w');
  add_unsigned<std::uint64_t>(table, "u64", 'd');
  add_equality<std::uint16_t>(table, "b16", 'h');
  add_equality<std::uint32_t>(table, "b32", 'w');
  add_equality<std::uint64_t>(table, "b64", 'd');
  add_unordered<float, Plain>(table, "f32", 'w');
  add_unordered<float, Flushing>(table, "f32", 'w');
  add_unordered<double, Plain>(table, "f64", 'd');
  add_unordered<std::uint16_t, FromHalf>(table, "f16", 'h');
  add_unordered<std::uint16_t, FromBrain>(table, "bf16", 'h');
  for (const char* type : {"b16", "s16", "u16"}) add_select<std::uint16_t>(table, type, "h");
  for (const char* type : {"b32", "s32", "u32", "f32"}) add_select<std::uint32_t>(table, type, "w");
  for (const char* type : {"b64", "s64", "u64", "f64"}) add_select<std::uint64_t>(table, type, "d");
}

}  // namespace trireme::gpu
