// Who must come together and does not: each with a twin that is legal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gpu/execute/small_gpu.h"

namespace trireme::gpu {
namespace {

using testing::HasSubstr;

struct Outcome {
  std::optional<Finding> finding{};
  std::string message{};
  std::vector<std::uint32_t> out{};
};

Outcome run_body(const std::string& body, std::uint32_t threads = 32) {
  SmallGpu gpu(kernel_of(R"(
  .reg .b32 %v<9>; .reg .pred %p<9>;
  mad.wide.u32 %at, %t, 4, %out;
  mov.u32 %v0, 1000;
  setp.lt.u32 %p1, %t, 16;
)" + body));
  auto* out = gpu.put(std::vector<std::uint32_t>(threads, 77));
  Outcome outcome;
  const auto fault = fault_of([&] { gpu.launch("k", {.threads = threads}, out, out); });
  if (fault) {
    outcome.finding = fault->finding();
    outcome.message = fault->what();
  } else {
    outcome.out = gpu.get(out, threads);
  }
  return outcome;
}

TEST(Divergence, AFullShuffleInABranchWaitsForLanesThatNeverCome) {
  const auto outcome = run_body("@%p1 bra END; shfl.sync.bfly.b32 %v0, %t, 1, 31, -1; END: bar.warp.sync -1;");
  EXPECT_EQ(outcome.finding, Finding::kDivergence);
  EXPECT_THAT(outcome.message, HasSubstr("lanes 0 to 15"));
  EXPECT_THAT(outcome.message, HasSubstr("lanes 16 to 31"));
  EXPECT_EQ(run_body("@%p1 bra END; shfl.sync.bfly.b32 %v0, %t, 1, 31, 0xffff0000; END: bar.warp.sync -1;").finding,
            std::nullopt);
}

TEST(Divergence, EachHalfMayShuffleUnderAMaskOfItsOwn) {
  const auto outcome = run_body(R"(
  selp.b32 %v1, 0x0000ffff, 0xffff0000, %p1;
  shfl.sync.bfly.b32 %v0, %t, 1, 31, %v1;
  st.global.u32 [%at], %v0;)");
  ASSERT_EQ(outcome.finding, std::nullopt) << outcome.message;
  for (std::uint32_t t = 0; t < 32; ++t) EXPECT_EQ(outcome.out[t], t ^ 1);
}

TEST(Divergence, LanesMayReachAShuffleAtDifferentTimes) {
  // Half of the lanes go around a loop first.
  const auto outcome = run_body(R"(
  @!%p1 bra MEET;
  mov.u32 %v2, 0;
LOOP:
  add.u32 %v2, %v2, 1; setp.lt.u32 %p2, %v2, %t; @%p2 bra LOOP;
MEET:
  shfl.sync.idx.b32 %v0, %t, 31, 31, -1;
  st.global.u32 [%at], %v0;)");
  ASSERT_EQ(outcome.finding, std::nullopt) << outcome.message;
  EXPECT_EQ(outcome.out, std::vector<std::uint32_t>(32, 31));
}

TEST(Divergence, AValueOfALaneThatLeftIsFound) {
  EXPECT_EQ(run_body("@%p1 exit; shfl.sync.bfly.b32 %v0, %t, 16, 31, -1;").finding, Finding::kInactiveLane);
  EXPECT_EQ(run_body("@%p1 exit; shfl.sync.bfly.b32 %v0, %t, 1, 31, -1;").finding, std::nullopt);
}

TEST(Divergence, AValueOfALaneThatTheMaskLeavesOutIsFound) {
  EXPECT_EQ(run_body("@!%p1 bra END; shfl.sync.down.b32 %v0, %t, 1, 31, 0xffff; END: mov.u32 %v1, 0;").finding,
            Finding::kInactiveLane);
  EXPECT_EQ(run_body("@!%p1 bra END; shfl.sync.down.b32 %v0, %t, 1, 0x100f, 0xffff; END: mov.u32 %v1, 0;").finding,
            std::nullopt);
}

TEST(Divergence, AMaskMustNameItsOwnLane) {
  EXPECT_EQ(run_body("vote.sync.ballot.b32 %v0, %p1, 0xfffffffe;").finding, Finding::kDivergence);
}

TEST(Divergence, AnMmaNeedsTheWholeWarp) {
  const std::string registers = ".reg .f32 %f<5>; .reg .b32 %r<7>;";
  const std::string mma =
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, "
      "{%f1,%f2,%f3,%f4};";
  EXPECT_EQ(run_body(registers + mma).finding, std::nullopt);
  EXPECT_EQ(run_body(registers + "@%p1 " + mma).finding, Finding::kDivergence);
  EXPECT_EQ(run_body(registers + "@%p1 exit;" + mma).finding, Finding::kDivergence);
}

TEST(Divergence, ABarrierInABranchIsFound) {
  const auto outcome = run_body("@%p1 bra END; bar.sync 0; END: mov.u32 %v0, 0;");
  EXPECT_EQ(outcome.finding, std::nullopt) << "the other lanes leave, which a barrier allows";
  EXPECT_EQ(run_body("@%p1 bra END; bar.sync 0; END: bar.sync 0;").finding, Finding::kDivergence);
  EXPECT_EQ(run_body("@%p1 bar.sync 0;").finding, Finding::kDivergence);
  EXPECT_EQ(run_body("bar.sync 0;").finding, std::nullopt);
}

TEST(Divergence, WarpsAtDifferentBarriersAreFound) {
  const std::string by_warp = "setp.lt.u32 %p2, %t, 32; @%p2 bra FIRST;";
  EXPECT_EQ(run_body(by_warp + "bar.sync 0; bra END; FIRST: bar.sync 0; END: mov.u32 %v0, 0;", 64).finding,
            Finding::kDivergence);
  EXPECT_EQ(run_body(by_warp + "bar.sync 1; bra END; FIRST: bar.sync 2; END: mov.u32 %v0, 0;", 64).finding,
            Finding::kDivergence);
  EXPECT_EQ(run_body(by_warp + "mov.u32 %v1, 5; FIRST: bar.sync 0;", 64).finding, std::nullopt);
}

TEST(Divergence, ABarrierGoesOnWithoutWarpsThatLeft) {
  EXPECT_EQ(run_body("setp.lt.u32 %p2, %t, 32; @%p2 exit; bar.sync 0;", 96).finding, std::nullopt);
}

TEST(Divergence, ABarrierForMoreThreadsThanThereAreIsFound) {
  EXPECT_EQ(run_body("bar.sync 1, 96;", 64).finding, Finding::kDivergence);
  EXPECT_EQ(run_body("bar.sync 1, 64;", 64).finding, std::nullopt);
}

TEST(Divergence, BarriersReduceOverTheWholeBlock) {
  const auto outcome = run_body(R"(
  setp.lt.u32 %p2, %t, 40; setp.lt.u32 %p4, %t, 64;
  bar.red.popc.u32 %v1, 0, %p2;
  bar.red.and.pred %p3, 0, %p2;
  bar.red.or.pred %p5, 0, !%p4;
  selp.u32 %v2, 100, 0, %p3;
  add.u32 %v1, %v1, %v2;
  selp.u32 %v2, 1000, 0, %p5;
  add.u32 %v1, %v1, %v2;
  st.global.u32 [%at], %v1;)",
                                70);
  ASSERT_EQ(outcome.finding, std::nullopt) << outcome.message;
  EXPECT_EQ(outcome.out, std::vector<std::uint32_t>(70, 1040));
}

}  // namespace
}  // namespace trireme::gpu
