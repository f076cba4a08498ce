// PTX ISA 9.0, 9.7.6 "Comparison and Selection Instructions", and 9.7.7 for 16 bits. The relations of a and b are four
// (less, equal, greater, unordered); an operator is the set of those for which it holds: eq, ne, lt, le, gt, ge never
// when unordered; equ, neu, ltu, leu, gtu, geu also then; num and nan tell whether they are.
#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/floating_reference.h"
#include "tests/gpu/execute/narrow_reference.h"

namespace trireme::gpu {
namespace {

enum Relation : unsigned { kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8 };

template <class T>
Relation relation(T a, T b) {
  return a < b ? kLess : a == b ? kEqual : a > b ? kGreater : kUnordered;
}

struct Operator {
  std::string name{};
  unsigned relations = 0;
};
const std::vector<Operator> kEquality = {{"eq", kEqual}, {"ne", kLess | kGreater}};
const std::vector<Operator> kOrder = {{"eq", kEqual},         {"ne", kLess | kGreater}, {"lt", kLess},
                                      {"le", kLess | kEqual}, {"gt", kGreater},         {"ge", kGreater | kEqual}};
const std::vector<Operator> kUnsignedNames = {
    {"lo", kLess}, {"ls", kLess | kEqual}, {"hi", kGreater}, {"hs", kGreater | kEqual}};

std::vector<Operator> floating_operators() {
  std::vector<Operator> all = kOrder;
  for (const auto& [name, relations] : kOrder) all.push_back({name + "u", relations | kUnordered});
  all.push_back({"num", kLess | kEqual | kGreater});
  all.push_back({"nan", kUnordered});
  return all;
}

struct Combination {
  const char* name;
  bool (*apply)(bool, bool);
};
const Combination kCombinations[] = {{".and", [](bool a, bool b) { return a && b; }},
                                     {".or", [](bool a, bool b) { return a || b; }},
                                     {".xor", [](bool a, bool b) { return a != b; }}};

// p|q: q is the comparison's opposite, combined in the same way.
template <class T, class Decide>
void expect_both_predicates(const std::string& name, const Decide& decide, const Combination* combination) {
  const std::string letters(2, register_letter<T>());
  OneInstruction instruction{.results = "pp", .operands = letters};
  instruction.text = name + (combination != nullptr ? " $0|$1, $2, $3, $4;" : " $0|$1, $2, $3;");
  if (combination != nullptr) instruction.operands += 'p';
  std::mt19937_64 generator(name.size());
  std::vector<Thread> threads;
  for (int i = 0; i < 256; ++i) {
    const std::uint64_t a = elementwise::draw(generator, sizeof(T));
    const std::uint64_t b = i % 3 == 0 ? a : elementwise::draw(generator, sizeof(T));
    threads.push_back({.takes_part = i % 4 != 0, .kept = {generator() & 1, generator() & 1}, .operands = {a, b}});
    if (combination != nullptr) threads.back().operands.push_back(generator() & 1);
  }
  const Outcome outcome = run_one(instruction, threads, Guard::kPredicate);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const auto& o = threads[i].operands;
    const bool holds = decide(from_bits<T>(o[0]), from_bits<T>(o[1]));
    const auto combined = [&](bool value) {
      return combination == nullptr ? value : combination->apply(value, o[2] != 0);
    };
    const bool p = threads[i].takes_part ? combined(holds) : threads[i].kept[0] != 0;
    const bool q = threads[i].takes_part ? combined(!holds) : threads[i].kept[1] != 0;
    ASSERT_EQ(outcome.results[i][0], p ? 1 : 0) << name << elementwise::row_text(o);
    ASSERT_EQ(outcome.results[i][1], q ? 1 : 0) << name << elementwise::row_text(o);
  }
}

// As `.dtype`: all ones, or 1.0.
template <class T, class Decide>
void expect_set(const std::string& head, const std::string& tail, const Decide& decide,
                const Combination* combination) {
  for (const auto& [type, yes] : {std::pair{".u32", 0xFFFFFFFFu}, {".s32", 0xFFFFFFFFu}, {".f32", 0x3F800000u}}) {
    const std::string name = head + type + tail;
    if (combination == nullptr) {
      LaneByLane<std::uint32_t(T, T)>(name, [&](T a, T b) { return decide(a, b) ? yes : 0; }).holds();
    } else {
      LaneByLane<std::uint32_t(T, T, bool)>(name, [&](T a, T b, bool c) {
        return combination->apply(decide(a, b), c) ? yes : 0;
      }).holds();
    }
  }
}

// T: what registers hold; `read` makes a number of it.
template <class T, class Read>
void expect_comparisons(const std::vector<Operator>& operators, const std::string& ftz, const std::string& type,
                        const Read& read) {
  for (const auto& [name, relations] : operators) {
    const auto decide = [relations = relations, &read](T a, T b) {
      return (relation(read(a), read(b)) & relations) != 0;
    };
    const std::string plain = "setp." + name + ftz + type;
    LaneByLane<bool(T, T)>(plain, decide).holds();
    expect_both_predicates<T>(plain, decide, nullptr);
    if (sizeof(T) >= 4) expect_set<T>("set." + name + ftz, type, decide, nullptr);
    for (const auto& combination : kCombinations) {
      const std::string head = "." + name + combination.name + ftz;
      LaneByLane<bool(T, T, bool)>("setp" + head + type, [&](T a, T b, bool c) {
        return combination.apply(decide(a, b), c);
      }).holds();
      expect_both_predicates<T>("setp" + head + type, decide, &combination);
      if (sizeof(T) >= 4) expect_set<T>("set" + head, type, decide, &combination);
    }
  }
}

constexpr auto kAsIs = [](auto x) { return x; };

TEST(ComparisonModel, OrdersSignedIntegers) {
  expect_comparisons<std::int16_t>(kOrder, "", ".s16", kAsIs);
  expect_comparisons<std::int32_t>(kOrder, "", ".s32", kAsIs);
  expect_comparisons<std::int64_t>(kOrder, "", ".s64", kAsIs);
}

TEST(ComparisonModel, OrdersUnsignedIntegersUnderBothNames) {
  for (const auto& operators : {kOrder, kUnsignedNames}) {
    expect_comparisons<std::uint16_t>(operators, "", ".u16", kAsIs);
    expect_comparisons<std::uint32_t>(operators, "", ".u32", kAsIs);
    expect_comparisons<std::uint64_t>(operators, "", ".u64", kAsIs);
  }
}

TEST(ComparisonModel, KnowsBitsThatAreEqual) {
  expect_comparisons<std::uint16_t>(kEquality, "", ".b16", kAsIs);
  expect_comparisons<std::uint32_t>(kEquality, "", ".b32", kAsIs);
  expect_comparisons<std::uint64_t>(kEquality, "", ".b64", kAsIs);
}

TEST(ComparisonModel, OrdersSinglesAndTellsNan) { expect_comparisons<float>(floating_operators(), "", ".f32", kAsIs); }

TEST(ComparisonModel, TakesSubnormalsForZerosWhenFlushing) {
  expect_comparisons<float>(floating_operators(), ".ftz", ".f32", reference::flush);
}

TEST(ComparisonModel, OrdersDoublesAndTellsNan) { expect_comparisons<double>(floating_operators(), "", ".f64", kAsIs); }

TEST(ComparisonModel, OrdersHalfAndBrainFloats) {
  expect_comparisons<std::uint16_t>(floating_operators(), "", ".f16",
                                    [](std::uint16_t x) { return reference::kHalf.value(x); });
  expect_comparisons<std::uint16_t>(floating_operators(), "", ".bf16",
                                    [](std::uint16_t x) { return reference::kBrain.value(x); });
}

// 9.7.6.3 selp: a if the predicate holds, else b. 9.7.6.4 slct: a if c >= 0; a NaN selects b, -0 selects a.
template <class T>
void expect_selection(const std::string& type) {
  const auto by_sign = [](T a, T b, auto c) { return c >= 0 ? a : b; };
  LaneByLane<T(T, T, bool)>("selp" + type, [](T a, T b, bool c) { return c ? a : b; }).holds();
  LaneByLane<T(T, T, std::int32_t)>("slct" + type + ".s32", by_sign).holds();
  LaneByLane<T(T, T, float)>("slct" + type + ".f32", by_sign).holds();
}

TEST(SelectionModel, ChoosesWithoutTouchingBits) {
  for (const char* type : {".b16", ".s16", ".u16"}) expect_selection<std::uint16_t>(type);
  for (const char* type : {".b32", ".s32", ".u32", ".f32"}) expect_selection<std::uint32_t>(type);
  for (const char* type : {".b64", ".s64", ".u64", ".f64"}) expect_selection<std::uint64_t>(type);
}

}  // namespace
}  // namespace trireme::gpu
