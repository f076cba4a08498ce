// Each check of memory with a kernel that it finds and a twin, as close as can be, that it does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gpu/execute/small_gpu.h"

namespace trireme::gpu {
namespace {

using testing::HasSubstr;

std::optional<Finding> finding_of(const std::optional<Fault>& fault) {
  return fault ? std::optional(fault->finding()) : std::nullopt;
}

// out[t] = in[t]
const std::string kCopy = kernel_of(R"(
  .reg .b64 %o; .reg .b32 %v;
  mul.wide.u32 %o, %t, 4;
  add.s64 %at, %in, %o;
  ld.global.u32 %v, [%at];
  add.s64 %at, %out, %o;
  st.global.u32 [%at], %v;)");

TEST(MemoryChecks, BytesThatNobodyWroteMayNotBeRead) {
  SmallGpu gpu(kCopy);
  auto* out = gpu.empty<int>(32);
  EXPECT_FALSE(fault_of([&] { gpu.launch("k", {}, gpu.put(std::vector<int>(32, 7)), out); }));
  EXPECT_EQ(gpu.get(out, 32), std::vector<int>(32, 7));
  const auto fault = fault_of([&] { gpu.launch("k", {}, gpu.empty<int>(32), out); });
  EXPECT_EQ(finding_of(fault), Finding::kUninitialised);
}

TEST(MemoryChecks, WhatAnAbandonedOperationWasToWriteIsForThoseOnlyWhomTheHostSentBeforeItKnew) {
  SmallGpu gpu(kCopy);
  auto* in = gpu.empty<int>(32);
  auto* out = gpu.empty<int>(32);
  const Clock before_it{0, 4}, with_it{0, 5};
  const Operation early{.stream = 2, .number = 1, .label = "early", .known = &before_it};
  const Operation late{.stream = 2, .number = 2, .label = "late", .known = &with_it};
  gpu.memory().abandon({.stream = 1, .number = 5, .label = "all_gather"}, in, 32 * sizeof(int));

  EXPECT_FALSE(fault_of([&] { gpu.launch_as(early, "k", {}, in, out); }));
  EXPECT_FALSE(fault_of([&] { gpu.memory().read(early, in, 32 * sizeof(int)); }));
  const auto fault = fault_of([&] { gpu.launch_as(late, "k", {}, in, out); });
  ASSERT_EQ(finding_of(fault), Finding::kUninitialised);
  EXPECT_THAT(fault->what(), HasSubstr("which all_gather was to write before it was aborted"));
  EXPECT_EQ(finding_of(fault_of([&] { gpu.memory().read(late, in, 32 * sizeof(int)); })), Finding::kUninitialised);

  gpu.launch("k", {}, gpu.put(std::vector<int>(32, 7)), in);
  EXPECT_FALSE(fault_of([&] { gpu.launch_as(late, "k", {}, in, out); }));
}

TEST(MemoryChecks, BytesThatNobodyWroteBesideAbandonedOnesAreFoundWhoeverReads) {
  SmallGpu gpu(kCopy);
  auto* in = gpu.empty<int>(32);
  const Clock before_it{0, 4};
  gpu.memory().abandon({.stream = 1, .number = 5, .label = "all_gather"}, in, 31 * sizeof(int));
  const Operation early{.stream = 2, .number = 1, .label = "early", .known = &before_it};
  const auto fault = fault_of([&] { gpu.launch_as(early, "k", {}, in, gpu.empty<int>(32)); });
  ASSERT_EQ(finding_of(fault), Finding::kUninitialised);
  EXPECT_THAT(fault->what(), HasSubstr("thread (31, 0, 0)"));
}

TEST(MemoryChecks, AMessageNamesKernelBlockThreadLineAndPlace) {
  SmallGpu gpu(kCopy);
  auto* in = gpu.put(std::vector<int>(31, 7));
  const auto fault = fault_of([&] { gpu.launch("k", {}, in, gpu.empty<int>(32)); });
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->finding(), Finding::kOutOfBounds);
  for (const char* part : {"kernel k", "block (0, 0, 0)", "thread (31, 0, 0)", "PTX line 15", "ld.global.u32 %v, [%at]",
                           "0 bytes beyond the end of an allocation of 124 bytes"}) {
    EXPECT_THAT(fault->what(), HasSubstr(part));
  }
}

TEST(MemoryChecks, ATailThatIsOneTooLongIsFoundOnTheWayOutToo) {
  SmallGpu gpu(kCopy);
  auto* in = gpu.put(std::vector<int>(32, 7));
  EXPECT_FALSE(fault_of([&] { gpu.launch("k", {.threads = 31}, in, gpu.empty<int>(31)); }));
  const auto fault = fault_of([&] { gpu.launch("k", {.threads = 32}, in, gpu.empty<int>(31)); });
  EXPECT_EQ(finding_of(fault), Finding::kOutOfBounds);
}

TEST(MemoryChecks, ReleasedMemoryMayNotBeUsedOrReleasedAgain) {
  SmallGpu gpu(kCopy);
  auto* in = gpu.put(std::vector<int>(32, 7));
  auto* out = gpu.put(std::vector<int>(32, 7));
  gpu.memory().release(reinterpret_cast<std::byte*>(in));
  EXPECT_EQ(finding_of(fault_of([&] { gpu.launch("k", {}, in, out); })), Finding::kUseAfterFree);
  EXPECT_EQ(finding_of(fault_of([&] { gpu.launch("k", {}, out, in); })), Finding::kUseAfterFree);
  EXPECT_EQ(finding_of(fault_of([&] { gpu.memory().release(reinterpret_cast<std::byte*>(in)); })),
            Finding::kDoubleFree);
  EXPECT_EQ(finding_of(fault_of([&] { gpu.memory().release(reinterpret_cast<std::byte*>(out) + 4); })),
            Finding::kOutOfBounds);
}

TEST(MemoryChecks, AWideLoadMustBeAligned) {
  const std::string wide = kernel_of(R"(
  .reg .b32 %v<4>;
  ld.global.v4.u32 {%v0, %v1, %v2, %v3}, [%in];
  st.global.u32 [%out], %v3;)");
  SmallGpu gpu(wide);
  auto* in = gpu.put(std::vector<int>{0, 1, 2, 3, 4});
  auto* out = gpu.empty<int>(1);
  EXPECT_FALSE(fault_of([&] { gpu.launch("k", {.threads = 1}, in, out); }));
  EXPECT_EQ(gpu.get(out, 1)[0], 3);
  EXPECT_EQ(finding_of(fault_of([&] { gpu.launch("k", {.threads = 1}, in + 1, out); })), Finding::kMisaligned);
}

TEST(MemoryChecks, AllocationsAreAlignedAsPromisedAndNotMore) {
  GlobalMemory memory(1 << 20);
  for (const std::size_t bytes : {1u, 256u, 512u, 4096u, 100u}) {
    const auto address = reinterpret_cast<std::uint64_t>(memory.allocate(bytes));
    EXPECT_EQ(address % 256, 0u);
    EXPECT_EQ(address % 512, 256u);
  }
}

TEST(MemoryChecks, CapacityIsKeptAndComesBack) {
  GlobalMemory memory(1000);
  auto* half = memory.allocate(600);
  EXPECT_EQ(memory.allocate(600), nullptr);
  EXPECT_EQ(memory.leaks().size(), 1u);
  memory.release(half);
  EXPECT_NE(memory.allocate(600), nullptr);
}

TEST(MemoryChecks, SharedMemoryIsFreshForEveryBlock) {
  // Block 0 or 1, whichever runs first, must not leave anything to the other.
  const std::string text = kernel_of(R"(
  .shared .align 4 .b8 s[128];
  .reg .b32 %a, %v, %b; .reg .pred %first;
  shl.b32 %a, %t, 2;
  mov.u32 %v, s;
  add.u32 %a, %a, %v;
  mov.u32 %b, %ctaid.x;
  setp.eq.u32 %first, %b, 0;
  @%first st.shared.u32 [%a], %t;
  ld.shared.u32 %v, [%a];)");
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SmallGpu gpu(text);
    int* none = nullptr;
    EXPECT_FALSE(fault_of([&] { gpu.launch("k", {.blocks = 1, .seed = seed}, none, none); }));
    EXPECT_EQ(finding_of(fault_of([&] { gpu.launch("k", {.blocks = 2, .seed = seed}, none, none); })),
              Finding::kUninitialised);
  }
}

TEST(MemoryChecks, SharedMemoryEndsWhereTheLaunchSays) {
  const std::string text = kernel_of(R"(
  .reg .b32 %a;
  shl.b32 %a, %t, 2;
  st.shared.u32 [%a+64], %t;)");
  SmallGpu gpu(text);
  int* none = nullptr;
  EXPECT_FALSE(fault_of([&] { gpu.launch("k", {.shared_bytes = 192}, none, none); }));
  EXPECT_EQ(finding_of(fault_of([&] { gpu.launch("k", {.shared_bytes = 191}, none, none); })), Finding::kOutOfBounds);
}

TEST(MemoryChecks, LocalMemoryEndsToo) {
  const std::string text = kernel_of(R"(
  .local .align 4 .b8 array[128];
  .reg .b32 %v; .reg .b64 %l;
  mov.u64 %l, array;
  mad.wide.u32 %at, %t, 4, %l;
  st.local.u32 [%at+4], %t;)");
  SmallGpu gpu(text);
  int* none = nullptr;
  EXPECT_FALSE(fault_of([&] { gpu.launch("k", {.threads = 31}, none, none); }));
  EXPECT_EQ(finding_of(fault_of([&] { gpu.launch("k", {.threads = 32}, none, none); })), Finding::kOutOfBounds);
}

TEST(MemoryChecks, WholeOperationsAreCheckedLikeThreads) {
  GlobalMemory memory(1 << 20);
  const Operation copy{.stream = 0, .number = 1, .label = "copy"};
  auto* there = memory.allocate(100);
  EXPECT_EQ(finding_of(fault_of([&] { memory.read(copy, there, 1); })), Finding::kUninitialised);
  memory.write(copy, there, 99);
  EXPECT_FALSE(fault_of([&] { memory.read(copy, there, 99); }));
  EXPECT_EQ(finding_of(fault_of([&] { memory.read(copy, there, 100); })), Finding::kUninitialised);
  EXPECT_EQ(finding_of(fault_of([&] { memory.write(copy, there, 101); })), Finding::kOutOfBounds);
  int host = 0;
  EXPECT_EQ(finding_of(fault_of([&] { memory.read(copy, &host, 4); })), Finding::kOutOfBounds);
  EXPECT_FALSE(memory.owns(&host));
  EXPECT_TRUE(memory.owns(there));
}

TEST(MemoryChecks, AModulesVariablesComeWithTheirValues) {
  SmallGpu gpu(
      ".version 9.0\n.target sm_80\n.address_size 64\n"
      ".const .align 4 .u32 table[3] = {5, 6, 7};\n.global .align 8 .u64 pointer = table+4;\n"
      ".visible .entry k(.param .u64 out) { .reg .b64 %rd<3>; .reg .b32 %r<3>;\n"
      "ld.param.u64 %rd1, [out]; ld.global.u64 %rd2, [pointer]; ld.u32 %r1, [%rd2]; ld.const.u32 %r2, [table+8];\n"
      "st.global.v2.u32 [%rd1], {%r1, %r2}; ret; }");
  auto* out = gpu.empty<int>(2);
  gpu.launch("k", {.threads = 1}, out);
  EXPECT_EQ(gpu.get(out, 2), (std::vector<int>{6, 7}));
}

}  // namespace
}  // namespace trireme::gpu
