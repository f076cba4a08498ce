// PTX ISA 9.0, 9.7.9.25 "Asynchronous copy": cp.async of 4, 8 and 16 bytes, of which the first src-size come from
// global memory and the rest are zeros; groups that are waited for in their order; nothing may be relied on before.
#include <gtest/gtest.h>

#include "tests/gpu/execute/memory_places.h"
#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {
namespace {

const char* const kOwnPlaces =
    "mov.u32 %thread, %tid.x;\nmul.wide.u32 %slot, %thread, 16;\nadd.s64 %from, %buffer, %slot;\n"
    "mov.u64 %area, area;\nadd.s64 %to, %area, %slot;\nadd.s64 %second, %to, 1024;\n";

OneInstruction copy(const std::string& text, const std::string& results, const std::string& operands) {
  return {.text = text,
          .results = results,
          .operands = operands,
          .before = kOwnPlaces,
          .variables = ".shared .align 16 .b8 area[2048];\n",
          .declared = ".reg .b32 %thread;\n.reg .b64 %slot, %area, %from, %to, %second;\n"};
}

std::vector<Thread> threads_of_a_block() { return std::vector<Thread>(kSlotThreads); }

void expect_copy(const std::string& caching, std::size_t bytes, const std::string& wait) {
  for (std::size_t source_bytes = 0; source_bytes <= bytes + 1; ++source_bytes) {
    const bool whole = source_bytes == bytes + 1;  // without the operand
    const std::string size = std::to_string(bytes);
    OneInstruction instruction =
        copy("cp.async." + caching + ".shared.global [%to], [%from], " + size + (whole ? "" : ", $2") + ";\n" + wait,
             "dd", "w");
    // Each thread reads what it copied itself; of fewer than 16 bytes the rest is not initialised.
    instruction.after = bytes == 4 ? "ld.shared.u32 $0, [%to];\n" : "ld.shared.b64 $0, [%to];\n";
    if (bytes == 16) instruction.after.append("ld.shared.b64 $1, [%to+8];\n");
    std::vector<Thread> threads = threads_of_a_block();
    for (auto& thread : threads) thread.operands = {source_bytes};
    const auto slots = slot_bytes();
    const Outcome outcome = run_one(instruction, threads, Guard::kNone, slots);
    for (std::size_t i = 0; i < threads.size(); ++i) {
      std::byte expected[16] = {};
      std::memcpy(expected, slots.data() + i * kSlotBytes, whole ? bytes : source_bytes);
      ASSERT_EQ(outcome.results[i][0], word(expected, 8)) << instruction.text << source_bytes;
      ASSERT_EQ(outcome.results[i][1], word(expected + 8, 8)) << instruction.text << source_bytes;
    }
  }
}

TEST(AsyncCopyModel, CopiesAndFillsWithZeros) {
  for (const std::string wait : {"cp.async.commit_group;\ncp.async.wait_group 0;", "cp.async.wait_all;"}) {
    for (const std::size_t bytes : {4u, 8u, 16u}) expect_copy("ca", bytes, wait);
    expect_copy("cg", 16, wait);
  }
}

const char* const kTwoGroups =
    "cp.async.cg.shared.global [%to], [%from], 16;\ncp.async.commit_group;\n"
    "cp.async.ca.shared.global [%second], [%from+8], 8;\ncp.async.commit_group;\n";

TEST(AsyncCopyModel, WaitsForAllButTheLatestGroups) {
  OneInstruction instruction = copy(std::string(kTwoGroups) + "cp.async.wait_group 1;", "dd", "");
  instruction.after = "ld.shared.b64 $0, [%to];\ncp.async.wait_group 0;\nld.shared.b64 $1, [%second];\n";
  const auto slots = slot_bytes();
  const Outcome outcome = run_one(instruction, threads_of_a_block(), Guard::kNone, slots);
  for (std::size_t i = 0; i < kSlotThreads; ++i) {
    ASSERT_EQ(outcome.results[i][0], word(slots.data() + i * kSlotBytes, 8));
    ASSERT_EQ(outcome.results[i][1], word(slots.data() + i * kSlotBytes + 8, 8));
  }
}

// An empty group counts: after it, waiting for all but one means waiting for what came before.
TEST(AsyncCopyModel, CountsEmptyGroups) {
  OneInstruction instruction = copy(
      "cp.async.cg.shared.global [%to], [%from], "
      "16;\ncp.async.commit_group;\ncp.async.commit_group;\ncp.async.wait_group 1;",
      "d", "");
  instruction.after = "ld.shared.b64 $0, [%to];\n";
  const auto slots = slot_bytes();
  const Outcome outcome = run_one(instruction, threads_of_a_block(), Guard::kNone, slots);
  for (std::size_t i = 0; i < kSlotThreads; ++i)
    ASSERT_EQ(outcome.results[i][0], word(slots.data() + i * kSlotBytes, 8));
}

Finding finding_of(OneInstruction instruction) {
  try {
    run_one(instruction, threads_of_a_block(), Guard::kNone, slot_bytes());
  } catch (const Fault& fault) {
    return fault.finding();
  }
  ADD_FAILURE() << "nothing found in " << instruction.text;
  return Finding::kTrap;
}

TEST(AsyncCopyModel, LandsNoEarlierThanItIsWaitedFor) {
  OneInstruction too_lax = copy(std::string(kTwoGroups) + "cp.async.wait_group 1;", "d", "");
  too_lax.after = "ld.shared.b64 $0, [%second];\n";
  EXPECT_EQ(finding_of(too_lax), Finding::kCopyInFlight);
  OneInstruction not_committed = copy("cp.async.cg.shared.global [%to], [%from], 16;\ncp.async.wait_group 0;", "d", "");
  not_committed.after = "ld.shared.b64 $0, [%to];\n";
  EXPECT_EQ(finding_of(not_committed), Finding::kCopyInFlight);
  OneInstruction not_waited = copy("cp.async.cg.shared.global [%to], [%from], 16;\ncp.async.commit_group;", "d", "");
  not_waited.after = "ld.shared.b64 $0, [%to];\n";
  EXPECT_EQ(finding_of(not_waited), Finding::kCopyInFlight);
}

TEST(AsyncCopyModel, MindsAlignment) {
  EXPECT_EQ(finding_of(copy("cp.async.cg.shared.global [%to], [%from+8], 16;\ncp.async.wait_all;", "d", "")),
            Finding::kMisaligned);
  EXPECT_EQ(finding_of(copy("cp.async.ca.shared.global [%to+4], [%from], 8;\ncp.async.wait_all;", "d", "")),
            Finding::kMisaligned);
}

}  // namespace
}  // namespace trireme::gpu
