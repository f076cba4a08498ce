// PTX ISA 9.0, 9.7.9.3 and 9.7.9.4 mov: a register as it is; a vector packed into a register or taken out of one, its
// first part lowest; special registers (chapter 10).
#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"

namespace trireme::gpu {
namespace {

TEST(MoveModel, CopiesRegistersBitByBit) {
  for (const std::string type : {"b16", "s16", "u16"}) {
    LaneByLane<std::uint16_t(std::uint16_t)>("mov." + type, [](std::uint16_t a) { return a; }).holds();
  }
  for (const std::string type : {"b32", "s32", "u32", "f32"}) {
    LaneByLane<std::uint32_t(std::uint32_t)>("mov." + type, [](std::uint32_t a) { return a; }).holds();
  }
  for (const std::string type : {"b64", "s64", "u64", "f64"}) {
    LaneByLane<std::uint64_t(std::uint64_t)>("mov." + type, [](std::uint64_t a) { return a; }).holds();
  }
}

void expect_packing(const std::string& type, char whole_letter, std::size_t parts, char part_letter) {
  const std::size_t part_bits = (whole_letter == 'd' ? 64 : 32) / parts;
  std::mt19937_64 generator(parts);
  std::vector<Thread> packed;
  std::vector<Thread> unpacked;
  for (int i = 0; i < 256; ++i) {
    Thread whole{.takes_part = i % 3 != 0, .kept = {1, 2, 3, 4}, .operands = {0}};
    Thread split{.takes_part = i % 3 != 0, .kept = {0x1234}};
    for (std::size_t part = 0; part < parts; ++part) {
      const std::uint64_t value = generator() & ((std::uint64_t{1} << part_bits) - 1);
      split.operands.push_back(value);
      whole.operands[0] |= value << (part * part_bits);
    }
    packed.push_back(std::move(whole));
    unpacked.push_back(std::move(split));
  }
  const auto list = [&](std::size_t first) {
    std::string text = "{";
    for (std::size_t part = 0; part < parts; ++part)
      text.append(part == 0 ? "$" : ", $").append(std::to_string(first + part));
    return text + "}";
  };
  const OneInstruction pack{.text = "mov." + type + " $0, " + list(1) + ";",
                            .results = {whole_letter},
                            .operands = std::string(parts, part_letter)};
  const OneInstruction unpack{.text = "mov." + type + " " + list(0) + ", $" + std::to_string(parts) + ";",
                              .results = std::string(parts, part_letter),
                              .operands = {whole_letter}};
  for (const Guard guard : {Guard::kNone, Guard::kPredicate}) {
    const Outcome joined = run_one(pack, unpacked, guard);
    const Outcome split = run_one(unpack, packed, guard);
    for (std::size_t i = 0; i < packed.size(); ++i) {
      const bool runs = guard == Guard::kNone || packed[i].takes_part;
      ASSERT_EQ(joined.results[i][0], runs ? packed[i].operands[0] : unpacked[i].kept[0]) << pack.text;
      for (std::size_t part = 0; part < parts; ++part) {
        ASSERT_EQ(split.results[i][part], runs ? unpacked[i].operands[part] : packed[i].kept[part]) << unpack.text;
      }
    }
  }
}

TEST(MoveModel, PacksAndUnpacksVectors) {
  expect_packing("b32", 'w', 2, 'h');
  expect_packing("b64", 'd', 2, 'w');
  expect_packing("b64", 'd', 4, 'h');
}

TEST(MoveModel, ReadsSpecialRegisters) {
  const OneInstruction instruction{
      .text =
          "mov.u32 $0, %laneid;\nmov.u32 $1, %warpid;\nmov.u32 $2, %ctaid.x;\nmov.u32 $3, %nctaid.x;\n"
          "mov.u32 $4, %ntid.x;\nmov.u32 $5, %lanemask_lt;\nmov.u32 $6, %lanemask_ge;\nmov.u32 $7, %tid.x;",
      .results = "wwwwwwww"};
  const std::vector<Thread> threads(192);
  const Outcome outcome = run_one(instruction, threads, Guard::kNone, {}, {.block = 96});
  for (std::uint32_t i = 0; i < threads.size(); ++i) {
    const std::uint32_t thread = i % 96;
    const std::uint32_t below = (1u << thread % 32) - 1;
    const std::vector<std::uint64_t> expected = {thread % 32, thread / 32, i / 96, 2, 96, below, ~below, thread};
    ASSERT_EQ(outcome.results[i], expected) << i;
  }
}

}  // namespace
}  // namespace trireme::gpu
