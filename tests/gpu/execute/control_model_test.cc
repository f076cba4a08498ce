// PTX ISA 9.0, 9.7.12 "Control Flow Instructions" (bra, brx.idx, call, ret, exit), 9.7.13.1 bar and barrier, 9.7.13.4
// membar and fence, and trap.
#include <gtest/gtest.h>

#include "tests/gpu/execute/one_instruction.h"
#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {
namespace {

using U64 = std::uint64_t;

std::vector<Thread> numbered(std::size_t count) {
  std::vector<Thread> threads;
  for (std::size_t i = 0; i < count; ++i)
    threads.push_back({.takes_part = i % 3 != 0, .kept = {1000 + i}, .operands = {i * 7 % 11}});
  return threads;
}

TEST(ControlModel, BranchesLaneByLane) {
  const auto threads = numbered(128);
  // Lanes that take part jump over the first result.
  const OneInstruction branch{
      .text = "bra AROUND;", .results = "w", .operands = "w", .after = "mov.u32 $0, 5;\nAROUND:\n"};
  const Outcome outcome = run_one(branch, threads, Guard::kPredicate);
  for (std::size_t i = 0; i < threads.size(); ++i)
    ASSERT_EQ(outcome.results[i][0], threads[i].takes_part ? 1000 + i : 5);
  const OneInstruction uniform{
      .text = "bra.uni AROUND;", .results = "w", .operands = "w", .after = "mov.u32 $0, 5;\nAROUND:\n"};
  EXPECT_EQ(run_one(uniform, threads, Guard::kNone).results[3][0], 1003);
}

// Each lane counts to its own number, so that they leave the loop at different times, and meet behind it.
TEST(ControlModel, LoopsAsOftenAsEachLaneSays) {
  const auto threads = numbered(96);
  const OneInstruction loop{.text = "bra BACK;",
                            .results = "ww",
                            .operands = "w",
                            .before = "mov.u32 $0, 0;\nBACK:\nadd.u32 $0, $0, 1;\nsetp.lt.u32 %take, $0, $2;\n",
                            .after = "activemask.b32 $1;\n"};
  const Outcome outcome = run_one(loop, threads, Guard::kPredicate);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    ASSERT_EQ(outcome.results[i][0], std::max<U64>(threads[i].operands[0], 1)) << i;
    ASSERT_EQ(outcome.results[i][1], 0xFFFFFFFFu) << i;
  }
}

TEST(ControlModel, LeavesTheKernel) {
  for (const char* leaving : {"ret;", "exit;"}) {
    const auto threads = numbered(128);
    const OneInstruction instruction{.text = leaving, .results = "w", .operands = "w", .after = "add.u32 $0, $1, 1;\n"};
    const Outcome outcome = run_one(instruction, threads, Guard::kPredicate);
    // The results of those that left were never stored.
    for (std::size_t i = 0; i < threads.size(); ++i) {
      ASSERT_EQ(outcome.results[i][0], threads[i].takes_part ? 0 : threads[i].operands[0] + 1) << leaving;
    }
  }
}

TEST(ControlModel, BranchesByATable) {
  std::vector<Thread> threads = numbered(64);
  for (std::size_t i = 0; i < threads.size(); ++i) threads[i].operands = {i % 3};
  const OneInstruction instruction{.text = "brx.idx $1, TABLE;",
                                   .results = "w",
                                   .operands = "w",
                                   .before = "TABLE: .branchtargets FIRST, SECOND, THIRD;\n",
                                   .after =
                                       "FIRST:\nmov.u32 $0, 10;\nbra.uni END;\nSECOND:\nmov.u32 $0, 20;\nbra.uni END;\n"
                                       "THIRD:\nmov.u32 $0, 30;\nEND:\n"};
  const Outcome outcome = run_one(instruction, threads, Guard::kNone);
  for (std::size_t i = 0; i < threads.size(); ++i) ASSERT_EQ(outcome.results[i][0], 10 * (i % 3 + 1));
}

// int f(int a, long b) { return a * 3 + b; }, as nvcc calls what it does not inline.
TEST(ControlModel, CallsFunctions) {
  const auto threads = numbered(64);
  const OneInstruction instruction{
      .text =
          "st.param.b32 [first], $1;\nst.param.b64 [second], %wide;\ncall.uni (back), f, (first, "
          "second);\nld.param.b32 $0, [back];",
      .results = "w",
      .operands = "w",
      .before = "cvt.u64.u32 %wide, $1;\n",
      .variables =
          ".func (.param .b32 f_result) f(.param .b32 f_a, .param .b64 f_b)\n{\n.reg .b32 %a, %b;\n.reg .b64 %w;\n"
          "ld.param.b32 %a, [f_a];\nld.param.b64 %w, [f_b];\ncvt.u32.u64 %b, %w;\nmad.lo.s32 %a, %a, 3, %b;\n"
          "st.param.b32 [f_result], %a;\nret;\n}\n",
      .declared = ".reg .b64 %wide;\n.param .b32 first;\n.param .b64 second;\n.param .b32 back;\n"};
  const Outcome outcome = run_one(instruction, threads, Guard::kNone);
  for (std::size_t i = 0; i < threads.size(); ++i) ASSERT_EQ(outcome.results[i][0], 4 * threads[i].operands[0]);
}

const std::vector<std::string> kPrefixes = {"bar.", "barrier.", "bar.cta.", "barrier.cta."};
const std::vector<std::string> kAligned = {"", ".aligned"};

// What a thread writes before the barrier, a thread of another warp reads behind it.
TEST(ControlModel, BringsTheBlockTogether) {
  const auto threads = numbered(128);
  for (const auto& prefix : kPrefixes) {
    for (const auto& aligned : kAligned) {
      for (const char* operands : {" 0;", " 3, 128;"}) {
        const OneInstruction instruction{.text = prefix + "sync" + aligned + operands,
                                         .results = "w",
                                         .operands = "w",
                                         .before =
                                             "mov.u32 %a, area;\nmov.u32 %t, %tid.x;\nshl.b32 %o, %t, 2;\nadd.u32 "
                                             "%mine, %a, %o;\nxor.b32 %o, %o, 256;\n"
                                             "add.u32 %theirs, %a, %o;\nst.shared.b32 [%mine], $1;\n",
                                         .after = "ld.shared.b32 $0, [%theirs];\n",
                                         .variables = ".shared .align 4 .b8 area[512];\n",
                                         .declared = ".reg .b32 %a, %t, %o, %mine, %theirs;\n"};
        const Outcome outcome = run_one(instruction, threads, Guard::kNone, {}, {.block = 128});
        for (std::size_t i = 0; i < threads.size(); ++i)
          ASSERT_EQ(outcome.results[i][0], threads[i ^ 64].operands[0]) << instruction.text;
      }
    }
  }
}

// The first warp only arrives; the second waits for both.
TEST(ControlModel, ArrivesWithoutWaiting) {
  for (const auto& prefix : kPrefixes) {
    for (const auto& aligned : kAligned) {
      std::vector<Thread> threads = numbered(64);
      for (std::size_t i = 0; i < 64; ++i) threads[i].takes_part = i < 32;
      const OneInstruction instruction{
          .text = prefix + "arrive" + aligned + " 1, 64;",
          .results = "w",
          .operands = "w",
          .before =
              "mov.u32 %a, area;\nmov.u32 %t, %tid.x;\nand.b32 %t, %t, 31;\nshl.b32 %t, %t, 2;\nadd.u32 %a, %a, %t;\n"
              "@%take st.shared.b32 [%a], $1;\n",
          .after = "@!%take bar.sync 1, 64;\n@!%take ld.shared.b32 $0, [%a];\n",
          .variables = ".shared .align 4 .b8 area[128];\n",
          .declared = ".reg .b32 %a, %t;\n"};
      const Outcome outcome = run_one(instruction, threads, Guard::kPredicate);
      for (std::size_t i = 32; i < 64; ++i)
        ASSERT_EQ(outcome.results[i][0], threads[i - 32].operands[0]) << instruction.text;
    }
  }
}

TEST(ControlModel, ReducesPredicatesOverTheBlock) {
  for (const auto& prefix : kPrefixes) {
    for (const auto& aligned : kAligned) {
      for (int which = 0; which < 3; ++which) {  // none, some, all
        std::vector<Thread> threads(96);
        U64 count = 0;
        for (std::size_t i = 0; i < threads.size(); ++i) {
          threads[i].operands = {which == 2 || (which == 1 && i % 5 == 1) ? 1u : 0u};
          count += threads[i].operands[0];
        }
        const OneInstruction instruction{.text = prefix + "red.popc" + aligned + ".u32 $0, 0, $3;\n" + prefix +
                                                 "red.and" + aligned + ".pred $1, 0, $3;\n" + prefix + "red.or" +
                                                 aligned + ".pred $2, 0, !$3;",
                                         .results = "wpp",
                                         .operands = "p"};
        const Outcome outcome = run_one(instruction, threads, Guard::kNone, {}, {.block = 96});
        for (const auto& result : outcome.results) {
          ASSERT_EQ(result[0], count) << instruction.text;
          ASSERT_EQ(result[1], which == 2 ? 1u : 0u) << instruction.text;
          ASSERT_EQ(result[2], which == 2 ? 0u : 1u) << instruction.text;
        }
      }
    }
  }
}

TEST(ControlModel, FencesChangeNothing) {
  for (const char* fence : {"membar.cta", "membar.gl", "membar.sys", "fence.acq_rel.cta", "fence.acq_rel.gpu",
                            "fence.acq_rel.sys", "fence.sc.cta", "fence.sc.gpu", "fence.sc.sys"}) {
    const auto threads = numbered(64);
    const OneInstruction instruction{.text = std::string(fence) + ";", .results = "w", .operands = "w"};
    const Outcome outcome = run_one(instruction, threads, Guard::kPredicate);
    for (std::size_t i = 0; i < threads.size(); ++i) ASSERT_EQ(outcome.results[i][0], 1000 + i);
  }
}

TEST(ControlModel, TrapsWhereALaneReachesIt) {
  std::vector<Thread> threads = numbered(64);
  const OneInstruction instruction{.text = "trap;", .results = "w", .operands = "w"};
  EXPECT_THROW(run_one(instruction, threads, Guard::kPredicate), Fault);
  for (auto& thread : threads) thread.takes_part = false;
  EXPECT_EQ(run_one(instruction, threads, Guard::kPredicate).results[9][0], 1009);
}

}  // namespace
}  // namespace trireme::gpu
