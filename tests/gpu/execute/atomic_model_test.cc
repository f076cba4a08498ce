// PTX ISA 9.0, 9.7.13.15 atom and 9.7.13.16 red: the operation of each instruction on a slot of a thread's own, in
// every space and memory order; and that updates of one slot by all threads do not lose each other.
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/memory_places.h"

namespace trireme::gpu {
namespace {

using U64 = std::uint64_t;

// New memory from the old one, b and c; bits of the type's width.
struct Operation {
  std::string name;  // "add.u32"
  std::size_t bytes;
  std::function<U64(U64, U64, U64)> apply;
  bool is_float = false;
  bool has_red = true;
};

template <class T>
U64 lesser(U64 a, U64 b) {
  return to_bits(std::min(from_bits<T>(a), from_bits<T>(b)));
}
template <class T>
U64 greater(U64 a, U64 b) {
  return to_bits(std::max(from_bits<T>(a), from_bits<T>(b)));
}

// "atom.add.f32 on global memory flushes subnormal inputs and results to sign-preserving zero; on shared memory it
// supports subnormals."
float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

std::vector<Operation> operations(bool flushes) {
  std::vector<Operation> all;
  const auto add = [](U64 a, U64 b, U64) { return a + b; };
  for (const char* type : {"u32", "s32"}) all.push_back({std::string("add.") + type, 4, add});
  all.push_back({"add.u64", 8, add});
  all.push_back({"add.f32", 4,
                 [flushes](U64 a, U64 b, U64) {
                   const auto x = from_bits<float>(a);
                   const auto y = from_bits<float>(b);
                   return to_bits(flushes ? flushed(flushed(x) + flushed(y)) : x + y);
                 },
                 true});
  all.push_back(
      {"add.f64", 8, [](U64 a, U64 b, U64) { return to_bits(from_bits<double>(a) + from_bits<double>(b)); }, true});
  for (const std::size_t bytes : {4u, 8u}) {
    const std::string type = bytes == 4 ? "b32" : "b64";
    all.push_back({"and." + type, bytes, [](U64 a, U64 b, U64) { return a & b; }});
    all.push_back({"or." + type, bytes, [](U64 a, U64 b, U64) { return a | b; }});
    all.push_back({"xor." + type, bytes, [](U64 a, U64 b, U64) { return a ^ b; }});
    all.push_back({"exch." + type, bytes, [](U64, U64 b, U64) { return b; }, false, false});
    all.push_back({"cas." + type, bytes, [](U64 a, U64 b, U64 c) { return a == b ? c : a; }, false, false});
  }
  all.push_back({"min.s32", 4, [](U64 a, U64 b, U64) { return lesser<std::int32_t>(a, b); }});
  all.push_back({"max.s32", 4, [](U64 a, U64 b, U64) { return greater<std::int32_t>(a, b); }});
  all.push_back({"min.u32", 4, [](U64 a, U64 b, U64) { return lesser<std::uint32_t>(a, b); }});
  all.push_back({"max.u32", 4, [](U64 a, U64 b, U64) { return greater<std::uint32_t>(a, b); }});
  all.push_back({"min.s64", 8, [](U64 a, U64 b, U64) { return lesser<std::int64_t>(a, b); }});
  all.push_back({"max.s64", 8, [](U64 a, U64 b, U64) { return greater<std::int64_t>(a, b); }});
  all.push_back({"min.u64", 8, [](U64 a, U64 b, U64) { return lesser<U64>(a, b); }});
  all.push_back({"max.u64", 8, [](U64 a, U64 b, U64) { return greater<U64>(a, b); }});
  // inc: ((d >= b) ? 0 : d + 1); dec: ((d == 0) || (d > b)) ? b : d - 1
  all.push_back({"inc.u32", 4, [](U64 a, U64 b, U64) { return a >= b ? 0 : a + 1; }});
  all.push_back({"dec.u32", 4, [](U64 a, U64 b, U64) { return a == 0 || a > b ? b : a - 1; }});
  return all;
}

bool same(const Operation& operation, U64 expected, U64 actual) {
  const U64 mask = operation.bytes == 4 ? 0xFFFFFFFF : ~U64{0};
  expected &= mask;
  actual &= mask;
  if (!operation.is_float) return expected == actual;
  if (operation.bytes == 4) return AnyNan()(from_bits<float>(expected), from_bits<float>(actual));
  return AnyNan()(from_bits<double>(expected), from_bits<double>(actual));
}

const char* const kOrders[] = {"", ".relaxed.gpu", ".relaxed.cta", ".relaxed.sys", ".acq_rel.gpu"};

void expect_operation(const MemoryPlace& place, const std::string& order, const Operation& operation, bool returns) {
  const bool compares = operation.name.starts_with("cas");
  const std::string letter = operation.bytes == 4 ? "w" : "d";
  const std::string values = std::string(returns ? "$1" : "$0") + (compares ? ", $2" : "");
  const std::string text = (returns ? "atom" : "red") + order + place.space + "." + operation.name +
                           (returns ? " $0, [" : " [") + place.address + "], " + values + ";";
  const OneInstruction instruction = at_place(place, text, returns ? letter : "", compares ? letter + letter : letter);
  std::mt19937_64 generator(text.size());
  std::vector<std::byte> buffer = slot_bytes();
  std::vector<Thread> threads;
  for (std::size_t i = 0; i < kSlotThreads; ++i) {
    const U64 old = elementwise::draw(generator, operation.bytes);
    std::memcpy(buffer.data() + i * kSlotBytes, &old, operation.bytes);
    const U64 b = i % 3 == 0 ? old : elementwise::draw(generator, operation.bytes);
    threads.push_back({.takes_part = i % 4 != 1, .kept = {77}, .operands = {b}});
    if (compares) threads.back().operands.push_back(elementwise::draw(generator, operation.bytes));
  }
  for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
    const Outcome outcome = run_one(instruction, threads, guard, buffer);
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const U64 old = word(buffer.data() + i * kSlotBytes, operation.bytes);
      const bool runs = guard == Guard::kNone || threads[i].takes_part;
      const auto& o = threads[i].operands;
      const U64 expected = runs ? operation.apply(old, o[0], compares ? o[1] : 0) : old;
      const U64 actual = word(outcome.buffer.data() + i * kSlotBytes, operation.bytes);
      ASSERT_TRUE(same(operation, expected, actual))
          << text << " on" << elementwise::row_text({old}) << " with" << elementwise::row_text(o) << " leaves"
          << elementwise::row_text({actual});
      ASSERT_TRUE(!returns || outcome.results[i][0] == (runs ? old : 77)) << text;
    }
  }
}

void expect_space(const MemoryPlace& place, bool flushes) {
  for (const char* order : kOrders) {
    for (const Operation& operation : operations(flushes)) {
      expect_operation(place, order, operation, true);
      if (operation.has_red) expect_operation(place, order, operation, false);
    }
  }
}

TEST(AtomicModel, UpdatesGlobalMemory) { expect_space(global_place(), true); }
TEST(AtomicModel, UpdatesSharedMemory) { expect_space(shared_place(), false); }

// Through generic addresses; additions of f32 are left to their spaces, since what they flush depends on those.
TEST(AtomicModel, UpdatesThroughGenericAddresses) {
  MemoryPlace place = global_place();
  place.space.clear();
  expect_space(place, true);
}

TEST(AtomicModel, LosesNoUpdateOfOneWord) {
  std::vector<Thread> threads(256);
  const std::vector<std::byte> buffer(16, std::byte{0});
  const OneInstruction increments{.text =
                                      "atom.global.inc.u32 $0, [%buffer], 1000;\nred.global.add.u32 [%buffer+4], 3;\n"
                                      "atom.global.cas.b32 $1, [%buffer+8], 0, 9;",
                                  .results = "ww"};
  const Outcome outcome = run_one(increments, threads, Guard::kNone, buffer);
  std::set<U64> tickets;
  int winners = 0;
  for (const auto& result : outcome.results) {
    tickets.insert(result[0]);
    winners += result[1] == 0 ? 1 : 0;
  }
  EXPECT_EQ(tickets.size(), 256u);
  EXPECT_EQ(*tickets.rbegin(), 255u);
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(word(outcome.buffer.data(), 4), 256u);
  EXPECT_EQ(word(outcome.buffer.data() + 4, 4), 768u);
  EXPECT_EQ(word(outcome.buffer.data() + 8, 4), 9u);
}

}  // namespace
}  // namespace trireme::gpu
