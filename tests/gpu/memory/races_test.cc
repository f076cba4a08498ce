// Races, each with a twin that is ordered. No finding may depend on the order in which things happened to run.
#include <deque>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gpu/execute/small_gpu.h"

namespace trireme::gpu {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kSeeds[] = {1, 2, 3, 4, 5};

// What a kernel of 64 threads with 1 KiB of shared memory finds, with every seed; out has an int a thread.
std::optional<Finding> finding_in(const std::string& body, std::uint32_t blocks = 1, std::uint32_t threads = 64) {
  std::optional<std::optional<Finding>> all;
  for (const std::uint64_t seed : kSeeds) {
    SmallGpu gpu(kernel_of(body));
    auto* in = gpu.put(std::vector<int>(4096, 1));
    auto* out = gpu.put(std::vector<int>(4096, 0));
    const auto fault = fault_of(
        [&] { gpu.launch("k", {.blocks = blocks, .threads = threads, .shared_bytes = 1024, .seed = seed}, in, out); });
    const auto finding = fault ? std::optional(fault->finding()) : std::nullopt;
    if (all) {
      EXPECT_EQ(*all, finding) << "seed " << seed;
    }
    all = finding;
  }
  return *all;
}

const std::string kDeclare = R"(
  .reg .b32 %a<9>, %v<9>, %b; .reg .pred %p<9>; .reg .b64 %o<4>;
  shl.b32 %a1, %t, 2;
  xor.b32 %a2, %a1, 252;
  mov.u32 %b, %ctaid.x;
  mul.wide.u32 %o1, %t, 4;
  add.s64 %o1, %o1, %out;
)";

// Every thread's word of shared memory is written, and all have met.
const std::string kFilled = kDeclare + "st.shared.u32 [%a1], %t; bar.sync 0;";

TEST(BlockRaces, AReadOfWhatAnotherWarpWroteNeedsABarrier) {
  EXPECT_EQ(finding_in(kFilled + "st.shared.u32 [%a1], %t; ld.shared.u32 %v1, [%a2];"), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(kDeclare + "st.shared.u32 [%a1], %t; bar.sync 0; ld.shared.u32 %v1, [%a2];"), std::nullopt);
}

TEST(BlockRaces, AWriteAfterOthersReadNeedsABarrier) {
  const std::string start = kDeclare + "st.shared.u32 [%a1], %t; bar.sync 0; ld.shared.u32 %v1, [%a2];";
  EXPECT_EQ(finding_in(start + "st.shared.u32 [%a1], %v1;"), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(start + "bar.sync 0; st.shared.u32 [%a1], %v1;"), std::nullopt);
}

TEST(BlockRaces, AWriteAfterManyReadersNeedsABarrierWhoeverReadLast) {
  const std::string start = kDeclare +
                            "setp.eq.u32 %p1, %t, 0; @%p1 st.shared.u32 [512], %t; bar.sync 0;"
                            "ld.shared.u32 %v1, [512];";
  EXPECT_EQ(finding_in(start + "@%p1 st.shared.u32 [512], %t;"), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(start + "bar.sync 0; @%p1 st.shared.u32 [512], %t;"), std::nullopt);
}

TEST(BlockRaces, LanesOfAWarpNeedItsBarrierAndShufflesAreNone) {
  const std::string store = kDeclare + "xor.b32 %a2, %a1, 4; st.shared.u32 [%a1], %t;";
  const std::string load = "ld.shared.u32 %v1, [%a2];";
  EXPECT_EQ(finding_in(store + load, 1, 32), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(store + "shfl.sync.bfly.b32 %v2, %t, 1, 31, -1;" + load, 1, 32), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(store + "bar.warp.sync -1;" + load, 1, 32), std::nullopt);
}

TEST(BlockRaces, AWarpsBarrierOrdersNoOtherWarp) {
  EXPECT_EQ(finding_in(kFilled + "st.shared.u32 [%a1], %t; bar.warp.sync -1; ld.shared.u32 %v1, [%a2];"),
            Finding::kRaceInBlock);
}

TEST(BlockRaces, HalvesOfAWordAreDifferentBytes) {
  const std::string halves = R"(
  .reg .b16 %h; cvt.u16.u32 %h, %t; shl.b32 %a3, %t, 1;
  st.shared.u16 [%a3], %h;)";
  EXPECT_EQ(finding_in(kDeclare + halves), std::nullopt);
  EXPECT_EQ(finding_in(kDeclare + halves + "and.b32 %a4, %a3, -4; ld.shared.u16 %h, [%a4+2];"), Finding::kRaceInBlock);
}

TEST(BlockRaces, GlobalMemoryIsWatchedToo) {
  const std::string start = kDeclare +
                            "xor.b32 %a3, %t, 63; mul.wide.u32 %o2, %a3, 4; add.s64 %o2, %o2, %out;"
                            "st.global.u32 [%o1], %t;";
  EXPECT_EQ(finding_in(start + "ld.global.u32 %v1, [%o2];"), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(start + "membar.gl; ld.global.u32 %v1, [%o2];"), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(start + "bar.sync 0; ld.global.u32 %v1, [%o2];"), std::nullopt);
}

TEST(BlockRaces, AtomicsMayMeetButNotPlainAccesses) {
  const std::string start = kDeclare +
                            "setp.eq.u32 %p1, %t, 0; mov.u32 %v1, 0; @%p1 st.shared.u32 [512], %v1; bar.sync 0;"
                            "red.shared.add.u32 [512], 1;";
  EXPECT_EQ(finding_in(start), std::nullopt);
  EXPECT_EQ(finding_in(start + "bar.sync 0; ld.shared.u32 %v1, [512];"), std::nullopt);
  EXPECT_EQ(finding_in(start + "ld.shared.u32 %v1, [512];"), Finding::kRaceInBlock);
}

TEST(BlockRaces, NamedBarriersOrderThoseWhoMeetThere) {
  // Warp 1 fills, warp 0 reads; warp 1 does not wait.
  const auto body = [](const char* arrive, const char* sync) {
    return kFilled + "setp.lt.u32 %p1, %t, 32; @%p1 bra READ; st.shared.u32 [%a1], %t;" + arrive +
           "bra END; READ:" + sync + "ld.shared.u32 %v1, [%a2]; END:";
  };
  EXPECT_EQ(finding_in(body("bar.arrive 1, 64;", "bar.sync 1, 64;")), std::nullopt);
  EXPECT_EQ(finding_in(body("", "")), Finding::kRaceInBlock);
}

TEST(BlockRaces, ABarrierOfTwoWarpsOrdersNoThird) {
  // Warps 0 and 1 meet at barrier 1; warp 2 reads what warp 1 wrote.
  const auto body = [](const char* barrier) {
    return kFilled + "setp.lt.u32 %p1, %t, 32; setp.ge.u32 %p2, %t, 64; @%p2 bra THIRD;" +
           "@!%p1 st.shared.u32 [%a1], %t; bar.sync 1, 64; bra MEET; THIRD: mov.u32 %v2, 0; MEET:" + barrier +
           "@%p2 ld.shared.u32 %v1, [%a1+-128];";
  };
  EXPECT_EQ(finding_in(body(""), 1, 96), Finding::kRaceInBlock);
  EXPECT_EQ(finding_in(body("bar.sync 0;"), 1, 96), std::nullopt);
}

TEST(LaunchRaces, BlocksMayNotShareWhatOneWrites) {
  const std::string mine = kDeclare + "mad.lo.u32 %a3, %b, 64, %t; mul.wide.u32 %o2, %a3, 4; add.s64 %o2, %o2, %out;";
  EXPECT_EQ(finding_in(mine + "st.global.u32 [%o2], %t;", 3), std::nullopt);
  EXPECT_EQ(finding_in(mine + "st.global.u32 [%o1], %t;", 3), Finding::kRaceBetweenBlocks);
  EXPECT_EQ(finding_in(mine + "ld.global.u32 %v1, [%o1]; setp.eq.u32 %p1, %b, 1; @%p1 st.global.u32 [%o1], %t;", 3),
            Finding::kRaceBetweenBlocks);
  EXPECT_EQ(finding_in(mine + "ld.global.u32 %v1, [%o1]; ld.global.u32 %v1, [%o2];", 3), std::nullopt);
}

TEST(LaunchRaces, AtomicsOfBlocksMayMeetButAreNoFence) {
  EXPECT_EQ(finding_in(kDeclare + "red.global.add.u32 [%out], 1;", 3), std::nullopt);
  EXPECT_EQ(finding_in(kDeclare + "red.global.add.u32 [%out], 1; membar.gl; ld.global.u32 %v1, [%out];", 3, 1),
            Finding::kRaceBetweenBlocks);
}

// Two streams over one allocation.
class OperationRaces : public testing::Test {
 protected:
  Operation on(std::uint32_t stream, const Clock& before, const char* label) {
    clocks_.push_back(before);
    if (numbers_.size() <= stream) numbers_.resize(stream + 1);
    return {.stream = stream, .number = ++numbers_[stream], .before = &clocks_.back(), .label = label};
  }
  std::optional<Finding> writing(const Operation& operation) {
    fault_ = fault_of([&] { memory_.write(operation, there_, 64); });
    return fault_ ? std::optional(fault_->finding()) : std::nullopt;
  }
  std::optional<Finding> reading(const Operation& operation) {
    fault_ = fault_of([&] { memory_.read(operation, there_, 64); });
    return fault_ ? std::optional(fault_->finding()) : std::nullopt;
  }

  GlobalMemory memory_{1 << 20};
  std::byte* there_ = memory_.allocate(64);
  std::optional<Fault> fault_{};

 private:
  std::deque<Clock> clocks_{};
  std::vector<std::uint64_t> numbers_{};
};

TEST_F(OperationRaces, AReadThatWaitsForNoEventIsFound) {
  EXPECT_EQ(writing(on(0, {0, 0}, "fill")), std::nullopt);
  EXPECT_EQ(reading(on(1, {0, 0}, "send")), Finding::kRaceBetweenOperations);
  EXPECT_THAT(fault_->what(), HasSubstr("send reads"));
  EXPECT_THAT(fault_->what(), HasSubstr("written by fill"));
  EXPECT_EQ(reading(on(1, {1, 1}, "send after waiting")), std::nullopt);
}

TEST_F(OperationRaces, AWriteMustWaitForEveryReader) {
  EXPECT_EQ(writing(on(0, {}, "fill")), std::nullopt);
  EXPECT_EQ(reading(on(1, {1, 0, 0}, "send")), std::nullopt);
  EXPECT_EQ(reading(on(2, {1, 0, 0}, "save")), std::nullopt);
  EXPECT_EQ(reading(on(0, {1, 0, 0}, "compute")), std::nullopt);
  EXPECT_EQ(writing(on(0, {2, 0, 1}, "overwrite, having waited for one")), Finding::kRaceBetweenOperations);
  EXPECT_THAT(fault_->what(), HasSubstr("read by send"));
  EXPECT_EQ(writing(on(0, {3, 1, 1}, "overwrite")), std::nullopt);
}

TEST_F(OperationRaces, OrderOfAStreamIsOrderWithoutAnEvent) {
  EXPECT_EQ(writing(on(1, {0, 0}, "one")), std::nullopt);
  EXPECT_EQ(writing(on(1, {0, 1}, "two")), std::nullopt);
  EXPECT_EQ(reading(on(1, {0, 2}, "three")), std::nullopt);
}

TEST_F(OperationRaces, RacesThatAreIgnoredAreNotReported) {
  GlobalMemory memory(1 << 20, Races::kIgnored);
  auto* there = memory.allocate(64);
  memory.write(on(0, {0, 0}, "fill"), there, 64);
  EXPECT_NO_THROW(memory.read(on(1, {0, 0}, "send"), there, 64));
}

TEST_F(OperationRaces, LaunchesAreOperations) {
  SmallGpu gpu(kernel_of("st.global.u32 [%out], %t;"));
  int* out = gpu.empty<int>(1);
  const SmallGpu::Shape one{.threads = 1};
  gpu.launch_as(on(1, {100, 0, 0}, "kernel k on stream 1"), "k", one, out, out);
  const auto fault = fault_of([&] { gpu.launch_as(on(2, {100, 0, 0}, "kernel k on stream 2"), "k", one, out, out); });
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->finding(), Finding::kRaceBetweenOperations);
  EXPECT_THAT(fault->what(), HasSubstr("written by kernel k on stream 1"));
  gpu.launch_as(on(2, {100, 1, 1}, "kernel k after waiting"), "k", one, out, out);
}

}  // namespace
}  // namespace trireme::gpu
