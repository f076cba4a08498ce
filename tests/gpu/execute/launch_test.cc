// Control flow, calls, limits and counters.
#include "tests/gpu/execute/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gpu/execute/small_gpu.h"

namespace trireme::gpu {
namespace {

using testing::HasSubstr;

std::vector<std::uint32_t> out_of(const std::string& text, std::uint32_t threads) {
  SmallGpu gpu(text);
  auto* out = gpu.put(std::vector<std::uint32_t>(threads, 77));
  gpu.launch("k", {.threads = threads}, out, out);
  return gpu.get(out, threads);
}

TEST(Launch, LanesThatDivergeMeetAgainAndComputeWhatTheyWouldAlone) {
  // Collatz steps from t + 1: every lane loops for another time, through two branches.
  const auto out = out_of(kernel_of(R"(
  .reg .b32 %n, %s, %odd; .reg .pred %p<4>;
  mad.wide.u32 %at, %t, 4, %out;
  add.u32 %n, %t, 1;
  mov.u32 %s, 0;
LOOP:
  setp.eq.u32 %p1, %n, 1;
  @%p1 bra DONE;
  and.b32 %odd, %n, 1;
  setp.eq.u32 %p2, %odd, 0;
  @%p2 bra EVEN;
  mad.lo.u32 %n, %n, 3, 1;
  bra NEXT;
EVEN:
  shr.u32 %n, %n, 1;
NEXT:
  add.u32 %s, %s, 1;
  bra LOOP;
DONE:
  st.global.u32 [%at], %s;)"),
                          70);
  for (std::uint32_t t = 0; t < 70; ++t) {
    std::uint32_t steps = 0;
    for (std::uint32_t n = t + 1; n != 1; n = n % 2 == 0 ? n / 2 : 3 * n + 1) ++steps;
    EXPECT_EQ(out[t], steps) << t;
  }
}

TEST(Launch, LanesMeetAgainBehindABranch) {
  SmallGpu gpu(kernel_of(R"(
  .reg .b32 %v; .reg .pred %p;
  mad.wide.u32 %at, %t, 4, %out;
  setp.lt.u32 %p, %t, 7;
  @%p bra OTHER;
  mov.u32 %v, 1;
  bra MEET;
OTHER:
  mov.u32 %v, 2;
MEET:
  st.global.u32 [%at], %v;)"));
  auto* out = gpu.empty<std::uint32_t>(32);
  EXPECT_EQ(gpu.launch("k", {}, out, out).global_accesses, 1u);
}

TEST(Launch, ABranchTableGoesWhereTheIndexSays) {
  const auto out = out_of(kernel_of(R"(
  .reg .b32 %i, %v;
  mad.wide.u32 %at, %t, 4, %out;
  rem.u32 %i, %t, 3;
table: .branchtargets A, B, A;
  brx.idx %i, table;
A: mov.u32 %v, 10; bra END;
B: mov.u32 %v, 20;
END: st.global.u32 [%at], %v;)"),
                          32);
  for (std::uint32_t t = 0; t < 32; ++t) EXPECT_EQ(out[t], t % 3 == 1 ? 20u : 10u);
}

const std::string kCalls = R"(.version 9.0
.target sm_80
.address_size 64
.func (.param .b32 result) twice(.param .b32 x)
{ .reg .b32 %r<3>; ld.param.u32 %r1, [x]; add.u32 %r2, %r1, %r1; st.param.b32 [result+0], %r2; ret; }
.func (.param .b32 result) four_times(.param .b32 x)
{ .reg .b32 %r<4>; ld.param.u32 %r1, [x];
  { .param .b32 p; st.param.b32 [p+0], %r1; .param .b32 q; call.uni (q), twice, (p); ld.param.b32 %r2, [q+0]; }
  { .param .b32 p; st.param.b32 [p+0], %r2; .param .b32 q; call.uni (q), twice, (p); ld.param.b32 %r3, [q+0]; }
  st.param.b32 [result+0], %r3; ret; }
.visible .entry k(.param .u64 p0, .param .u64 p1)
{ .reg .b64 %out, %at; .reg .b32 %t, %v; .reg .pred %p;
  ld.param.u64 %out, [p1]; mov.u32 %t, %tid.x; mad.wide.u32 %at, %t, 4, %out; mov.u32 %v, %t;
  setp.lt.u32 %p, %t, 10; @%p bra END;
  { .param .b32 p; st.param.b32 [p+0], %t; .param .b32 q; call.uni (q), four_times, (p); ld.param.b32 %v, [q+0]; }
END: st.global.u32 [%at], %v; ret; }
)";

TEST(Launch, DeviceFunctionsTakeArgumentsAndGiveResultsInDivergentCode) {
  const auto out = out_of(kCalls, 40);
  for (std::uint32_t t = 0; t < 40; ++t) EXPECT_EQ(out[t], t < 10 ? t : 4 * t);
}

std::optional<Fault> launch_fault(const std::string& body) {
  SmallGpu gpu(kernel_of(body));
  int* none = nullptr;
  return fault_of([&] { gpu.launch("k", {}, none, none); });
}

TEST(Launch, AnUnknownInstructionFailsBeforeAnythingRuns) {
  for (const char* body :
       {"frobnicate.b32 %t, %t;", "add.cc.f32 %t, %t, %t;", "ld.global.L2::cache_hint.u32 %t, [%in], %in;",
        "mov.u32 %t, %clock;", "mov.u32 %t, %undeclared;"}) {
    const auto fault = launch_fault(std::string("trap;").append(body));
    ASSERT_TRUE(fault) << body;
    EXPECT_EQ(fault->finding(), Finding::kUnknownInstruction) << fault->what();
    EXPECT_THAT(fault->what(), HasSubstr("PTX line"));
  }
}

TEST(Launch, RecursionIsRefused) {
  SmallGpu gpu(
      ".version 9.0\n.target sm_80\n.address_size 64\n.func f() { call.uni f; ret; }\n"
      ".visible .entry k() { call.uni f; ret; }");
  EXPECT_EQ(fault_of([&] { gpu.launch("k", {}); })->finding(), Finding::kUnknownInstruction);
}

TEST(Launch, ATrapSaysWhoStopped) {
  const auto fault = launch_fault(".reg .pred %p; setp.eq.u32 %p, %t, 5; @%p trap;");
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->finding(), Finding::kTrap);
  EXPECT_THAT(fault->what(), HasSubstr("thread (5, 0, 0)"));
}

TEST(Launch, WhatADriverRefusesIsRefused) {
  const Module module = parse(
      ".version 9.0\n.target sm_80\n.address_size 64\n"
      ".visible .entry k() .maxntid 128, 1, 1 { .shared .align 4 .b8 s[16384]; .reg .b32 %r; mov.u32 %r, s; ret; }");
  const Launch fine{.program = decode(module, *module.find("k")), .block = {128, 1, 1}};
  EXPECT_EQ(refusal(fine), std::nullopt);
  const auto with = [&](const auto& change) {
    Launch launch = fine;
    change(launch);
    return refusal(launch).value_or("");
  };
  EXPECT_THAT(with([](Launch& l) { l.block[0] = 129; }), HasSubstr("129 threads"));
  EXPECT_THAT(with([](Launch& l) { l.block = {1, 1, 65}; }), HasSubstr("block[2]"));
  EXPECT_THAT(with([](Launch& l) { l.grid[1] = 65536; }), HasSubstr("grid[1]"));
  EXPECT_THAT(with([](Launch& l) { l.grid[0] = 0; }), HasSubstr("empty"));
  EXPECT_EQ(with([](Launch& l) { l.dynamic_shared_bytes = 32768; }), "");
  EXPECT_THAT(with([](Launch& l) { l.dynamic_shared_bytes = 32769; }), HasSubstr("cudaFuncSetAttribute"));
  EXPECT_EQ(with([](Launch& l) { l.dynamic_shared_bytes = l.dynamic_shared_limit = 32769; }), "");
  EXPECT_THAT(with([](Launch& l) { l.dynamic_shared_bytes = l.dynamic_shared_limit = 163 * 1024; }),
              HasSubstr("at most"));
}

// Counters of one warp that runs `body` once.
Counters count(const std::string& body) {
  SmallGpu gpu(kernel_of(".reg .b32 %a, %v<5>; .reg .b64 %o;" + body));
  auto* in = gpu.put(std::vector<int>(4096, 1));
  auto* out = gpu.put(std::vector<int>(4096, 1));
  return gpu.launch("k", {.shared_bytes = 16384}, in, out);
}

TEST(LaunchCounters, CoalescedAccessesNeedNoMoreSectorsThanBytes) {
  const auto dense = count("mad.wide.u32 %o, %t, 4, %in; ld.global.u32 %v1, [%o];");
  EXPECT_EQ(dense.global_bytes_read, 128u);
  EXPECT_EQ(dense.global_sectors, 4u);
  EXPECT_EQ(dense.global_sectors_needed, 4u);
  const auto strided = count("mad.wide.u32 %o, %t, 32, %in; ld.global.u32 %v1, [%o];");
  EXPECT_EQ(strided.global_sectors, 32u);
  EXPECT_EQ(strided.global_sectors_needed, 4u);
  const auto same = count("ld.global.u32 %v1, [%in];");
  EXPECT_EQ(same.global_sectors, 1u);
  EXPECT_EQ(same.global_sectors_needed, 1u);
  const auto shifted = count("mad.wide.u32 %o, %t, 4, %out; st.global.u32 [%o+4], %t;");
  EXPECT_EQ(shifted.global_bytes_written, 128u);
  EXPECT_EQ(shifted.global_sectors, 5u);
  const auto wide = count("mad.wide.u32 %o, %t, 16, %in; ld.global.v4.u32 {%v1, %v2, %v3, %v4}, [%o];");
  EXPECT_EQ(wide.wide_accesses, 1u);
  EXPECT_EQ(wide.global_sectors, 16u);
}

TEST(LaunchCounters, BankConflictsTakeTurns) {
  const auto store = [](const std::string& stride, const std::string& what) {
    const auto counters =
        count("mul.lo.u32 %a, %t, " + stride + "; mov.u32 %v1, 0; mov.u32 %v2, 0; mov.u32 %v3, 0; " + what);
    return std::pair(counters.shared_passes, counters.shared_passes_needed);
  };
  EXPECT_EQ(store("4", "st.shared.u32 [%a], %t;"), std::pair(std::uint64_t{1}, std::uint64_t{1}));
  EXPECT_EQ(store("8", "st.shared.u32 [%a], %t;"), std::pair(std::uint64_t{2}, std::uint64_t{1}));
  EXPECT_EQ(store("128", "st.shared.u32 [%a], %t;"), std::pair(std::uint64_t{32}, std::uint64_t{1}));
  EXPECT_EQ(store("132", "st.shared.u32 [%a], %t;"), std::pair(std::uint64_t{1}, std::uint64_t{1}));
  EXPECT_EQ(store("16", "st.shared.v4.u32 [%a], {%t, %v1, %v2, %v3};"), std::pair(std::uint64_t{4}, std::uint64_t{4}));
  EXPECT_EQ(store("32", "st.shared.v4.u32 [%a], {%t, %v1, %v2, %v3};"), std::pair(std::uint64_t{8}, std::uint64_t{4}));
  EXPECT_EQ(store("8", "st.shared.v2.u32 [%a], {%t, %v1};"), std::pair(std::uint64_t{2}, std::uint64_t{2}));
}

TEST(LaunchCounters, InstructionsAreCountedByWarpAndByLane) {
  const auto counters = count(".reg .pred %p; setp.lt.u32 %p, %t, 3; @%p add.u32 %a, %t, 1;");
  EXPECT_EQ(counters.blocks, 1u);
  EXPECT_EQ(counters.warp_instructions, 6u);  // with two parameters, %tid.x and ret
  EXPECT_EQ(counters.lane_instructions, 5u * 32 + 3);
}

}  // namespace
}  // namespace trireme::gpu
