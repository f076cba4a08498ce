// PTX ISA 9.0, 9.7.9 "Data Movement and Conversion Instructions": ld, st and cvta in every state space, one value or a
// vector, and registers wider than what is loaded (9.4.1: extended by sign for .s, by zeros otherwise; cut by st).
#include <gtest/gtest.h>

#include "tests/gpu/execute/memory_places.h"

namespace trireme::gpu {
namespace {

struct Type {
  std::string name;
  std::size_t bytes;
  bool is_signed() const { return name[0] == 's'; }
};
const Type kTypes[] = {{"u8", 1},  {"s8", 1},  {"b8", 1},  {"u16", 2}, {"s16", 2}, {"b16", 2}, {"u32", 4},
                       {"s32", 4}, {"b32", 4}, {"f32", 4}, {"u64", 8}, {"s64", 8}, {"b64", 8}, {"f64", 8}};

std::size_t register_bytes_of(char letter) { return letter == 'h' ? 2 : letter == 'w' ? 4 : 8; }

// The register's bits after loading `bits`.
std::uint64_t extended(const Type& type, std::uint64_t bits, std::size_t register_bytes) {
  const std::size_t width = 8 * type.bytes;
  if (type.is_signed() && (bits >> (width - 1) & 1) != 0 && width < 64) bits |= ~std::uint64_t{0} << width;
  return register_bytes == 8 ? bits : bits & ((std::uint64_t{1} << 8 * register_bytes) - 1);
}

// "{$0, $1}" or "$0".
std::string registers(std::size_t first, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text.append(i == 0 ? "$" : ", $").append(std::to_string(first + i));
  return count == 1 ? text : "{" + text + "}";
}
std::string vector_modifier(std::size_t count) { return count == 1 ? "" : ".v" + std::to_string(count); }

std::vector<Thread> threads_with(std::size_t operands) {
  std::vector<Thread> threads;
  for (std::size_t i = 0; i < kSlotThreads; ++i) {
    Thread thread{.takes_part = i % 5 != 2, .kept = {5, 6, 7, 8}};
    for (std::size_t o = 0; o < operands; ++o)
      thread.operands.push_back(0x0123456789ABCDEFu * (i + 1) + 0xFEDCBA9876543210u * o);
    threads.push_back(std::move(thread));
  }
  return threads;
}

// `bytes_at(thread)`: where the bytes are that the thread loads.
template <class BytesAt>
void expect_load(const MemoryPlace& place, const std::string& name, const Type& type, std::size_t count, char letter,
                 const BytesAt& bytes_at) {
  const std::string text =
      name + vector_modifier(count) + "." + type.name + " " + registers(0, count) + ", [" + place.address + "];";
  const OneInstruction instruction = at_place(place, text, std::string(count, letter), "");
  for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
    const auto threads = threads_with(0);
    const Outcome outcome = run_one(instruction, threads, guard, slot_bytes());
    for (std::size_t i = 0; i < threads.size(); ++i) {
      for (std::size_t part = 0; part < count; ++part) {
        const bool runs = guard == Guard::kNone || threads[i].takes_part;
        const std::uint64_t loaded = word(bytes_at(i) + part * type.bytes, type.bytes);
        const std::uint64_t expected = runs ? extended(type, loaded, register_bytes_of(letter)) : threads[i].kept[part];
        ASSERT_EQ(outcome.results[i][part], expected) << text << " in thread " << i;
      }
    }
  }
}

// Calls function(type, count, letter) for each vector of values and each kind of register that can hold one.
template <class Function>
void for_each_vector(const Function& function) {
  for (const Type& type : kTypes) {
    for (const std::size_t count : {1u, 2u, 4u}) {
      if (type.bytes * count > 16) continue;
      for (const char letter : {'h', 'w', 'd'}) {
        const bool is_float = type.name[0] == 'f';
        const bool fits = is_float ? register_bytes_of(letter) == type.bytes : register_bytes_of(letter) >= type.bytes;
        if (fits) function(type, count, letter);
      }
    }
  }
}

template <class BytesAt>
void expect_loads(const MemoryPlace& place, const std::vector<std::string>& names, const BytesAt& bytes_at) {
  for (const auto& name : names) {
    for_each_vector([&](const Type& type, std::size_t count, char letter) {
      expect_load(place, name, type, count, letter, bytes_at);
    });
  }
}

TEST(MemoryModel, LoadsFromGlobalMemory) {
  const auto slots = slot_bytes();
  expect_loads(global_place(), {"ld.global", "ld.volatile.global", "ld.global.nc"},
               [&](std::size_t i) { return slots.data() + i * kSlotBytes; });
}
TEST(MemoryModel, LoadsFromSharedMemory) {
  const auto slots = slot_bytes();
  expect_loads(shared_place(), {"ld.shared", "ld.volatile.shared"},
               [&](std::size_t i) { return slots.data() + i * kSlotBytes; });
}
TEST(MemoryModel, LoadsFromLocalMemory) {
  const auto slots = slot_bytes();
  expect_loads(local_place(), {"ld.local", "ld.volatile.local"},
               [&](std::size_t i) { return slots.data() + i * kSlotBytes; });
}
TEST(MemoryModel, LoadsThroughGenericAddresses) {
  const auto slots = slot_bytes();
  expect_loads(generic_place(), {"ld", "ld.volatile"}, [&](std::size_t i) { return slots.data() + i * kSlotBytes; });
}
TEST(MemoryModel, LoadsConstants) {
  const auto slots = slot_bytes();
  expect_loads(constant_place(), {"ld.const", "ld.volatile.const"},
               [&](std::size_t i) { return slots.data() + i * kSlotBytes; });
}
TEST(MemoryModel, LoadsParameters) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 16; i < 32; ++i) bytes.push_back(parameter_byte(i));
  expect_loads(parameter_place(), {"ld.param", "ld.volatile.param"}, [&](std::size_t) { return bytes.data(); });
}

// Bytes beside those that are stored stay.
void expect_store(const MemoryPlace& place, const std::string& name, const Type& type, std::size_t count, char letter) {
  const std::string text =
      name + vector_modifier(count) + "." + type.name + " [" + place.address + "], " + registers(0, count) + ";";
  const OneInstruction instruction = at_place(place, text, "", std::string(count, letter));
  for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
    const auto threads = threads_with(count);
    std::vector<std::byte> expected = slot_bytes();
    const Outcome outcome = run_one(instruction, threads, guard, expected);
    for (std::size_t i = 0; i < threads.size(); ++i) {
      if (guard == Guard::kPredicate && !threads[i].takes_part) continue;
      for (std::size_t part = 0; part < count; ++part) {
        std::memcpy(expected.data() + i * kSlotBytes + part * type.bytes, &threads[i].operands[part], type.bytes);
      }
    }
    ASSERT_TRUE(outcome.buffer == expected) << text;
  }
}

TEST(MemoryModel, StoresWhatItSaysAndNoMore) {
  for (const MemoryPlace& place : {global_place(), shared_place(), local_place(), generic_place()}) {
    for (const std::string kind : {"st", "st.volatile"}) {
      for_each_vector([&](const Type& type, std::size_t count, char letter) {
        expect_store(place, kind + place.space, type, count, letter);
      });
    }
  }
}

// 9.7.9.20 cvta: to the generic address and back, both of which lead to the same bytes.
TEST(MemoryModel, ConvertsAddressesToGenericOnesAndBack) {
  MemoryPlace parameter = parameter_place();
  parameter.before.append("mov.b64 %where, one_bytes;\n");
  MemoryPlace local = local_place();
  local.before.append("add.s64 %where, %where, 16;\n");
  local.after.clear();
  for (const MemoryPlace& place : {global_place(), shared_place(), local, constant_place(), parameter}) {
    const std::string space = place.space.substr(1);
    const OneInstruction instruction =
        at_place(place,
                 "cvta." + space + ".u64 %generic, %where;\nld.b64 $0, [%generic];\ncvta.to." + space +
                     ".u64 %back, %generic;\nld." + space + ".b64 $1, [%back];",
                 "dd", "");
    const auto slots = slot_bytes();
    const Outcome outcome = run_one(instruction, threads_with(0), Guard::kNone, slots);
    for (std::size_t i = 0; i < kSlotThreads; ++i) {
      std::uint64_t expected = word(slots.data() + i * kSlotBytes, 8);
      if (space == "param") {
        expected = 0;
        for (std::size_t byte = 0; byte < 8; ++byte)
          expected |= std::to_integer<std::uint64_t>(parameter_byte(byte)) << 8 * byte;
      }
      ASSERT_EQ(outcome.results[i][0], expected) << space;
      ASSERT_EQ(outcome.results[i][1], expected) << space;
    }
  }
}

}  // namespace
}  // namespace trireme::gpu
