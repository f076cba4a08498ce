// cp.async: what it copies, and every way of not waiting for it.
#include <gtest/gtest.h>

#include "tests/gpu/execute/small_gpu.h"

namespace trireme::gpu {
namespace {

// 64 threads copy 16 bytes each, twice, in two groups: elements 4t of the first and of the second KiB.
struct Outcome {
  std::optional<Finding> finding{};
  std::vector<std::uint32_t> out{};
};

Outcome run_body(const std::string& body) {
  std::optional<Outcome> last;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SmallGpu gpu(kernel_of(R"(
  .reg .b32 %s<9>, %v<9>; .reg .b64 %g<9>;
  shl.b32 %s1, %t, 4;
  xor.b32 %s2, %s1, 1008;
  mad.wide.u32 %g1, %t, 16, %in;
  mad.wide.u32 %at, %t, 4, %out;
)" + body));
    std::vector<std::uint32_t> values(512);
    for (std::uint32_t i = 0; i < values.size(); ++i) values[i] = i + 1;
    auto* in = gpu.put(values);
    auto* out = gpu.put(std::vector<std::uint32_t>(64, 0));
    Outcome outcome;
    const auto fault = fault_of([&] { gpu.launch("k", {.threads = 64, .shared_bytes = 2048, .seed = seed}, in, out); });
    outcome.finding = fault ? std::optional(fault->finding()) : std::nullopt;
    if (!fault) outcome.out = gpu.get(out, 64);
    if (last) {
      EXPECT_EQ(last->finding.has_value(), fault.has_value()) << "seed " << seed << (fault ? fault->what() : "");
    }
    last = outcome;
  }
  return *last;
}

const std::string kFirst = "cp.async.cg.shared.global [%s1], [%g1], 16; cp.async.commit_group;";
const std::string kSecond = "cp.async.cg.shared.global [%s1+1024], [%g1+1024], 16; cp.async.commit_group;";
const std::string kReadOwn = "ld.shared.u32 %v1, [%s1]; st.global.u32 [%at], %v1;";
const std::string kReadOther = "ld.shared.u32 %v1, [%s2+4]; st.global.u32 [%at], %v1;";

TEST(AsyncCopy, ArrivesAfterItsGroupWasWaitedFor) {
  const auto own = run_body(kFirst + kSecond + "cp.async.wait_group 1;" + kReadOwn);
  ASSERT_EQ(own.finding, std::nullopt);
  for (std::uint32_t t = 0; t < 64; ++t) EXPECT_EQ(own.out[t], 4 * t + 1);
  const auto other = run_body(kFirst + "cp.async.wait_all; bar.sync 0;" + kReadOther);
  ASSERT_EQ(other.finding, std::nullopt);
  for (std::uint32_t t = 0; t < 64; ++t) EXPECT_EQ(other.out[t], 4 * (63 - t) + 2);
}

TEST(AsyncCopy, NotWaitedForIsFound) {
  EXPECT_EQ(run_body(kFirst + kReadOwn).finding, Finding::kCopyInFlight);
  EXPECT_EQ(run_body(kFirst + "bar.sync 0;" + kReadOther).finding, Finding::kCopyInFlight);
}

TEST(AsyncCopy, AWaitThatIsTooLaxIsFound) {
  EXPECT_EQ(run_body(kFirst + "cp.async.wait_group 1;" + kReadOwn).finding, Finding::kCopyInFlight);
  EXPECT_EQ(run_body(kSecond + kFirst + "cp.async.wait_group 1;" + kReadOwn).finding, Finding::kCopyInFlight);
  EXPECT_EQ(run_body(kSecond + kFirst + "cp.async.wait_group 0;" + kReadOwn).finding, std::nullopt);
}

TEST(AsyncCopy, AnEmptyGroupIsAGroup) {
  EXPECT_EQ(run_body(kFirst + "cp.async.commit_group; cp.async.wait_group 1;" + kReadOwn).finding, std::nullopt);
  EXPECT_EQ(run_body("cp.async.commit_group;" + kFirst + "cp.async.wait_group 1;" + kReadOwn).finding,
            Finding::kCopyInFlight);
}

TEST(AsyncCopy, WhatIsNotCommittedIsNotWaitedForByGroups) {
  const std::string copy = "cp.async.cg.shared.global [%s1], [%g1], 16;";
  EXPECT_EQ(run_body(copy + "cp.async.wait_group 0;" + kReadOwn).finding, Finding::kCopyInFlight);
  EXPECT_EQ(run_body(copy + "cp.async.wait_all;" + kReadOwn).finding, std::nullopt);
}

TEST(AsyncCopy, OthersNeedABarrierAfterTheWait) {
  EXPECT_EQ(run_body(kFirst + "bar.sync 0; cp.async.wait_group 0; bar.sync 0;" + kReadOther).finding, std::nullopt);
  EXPECT_NE(run_body(kFirst + "bar.sync 0; cp.async.wait_group 0;" + kReadOther).finding, std::nullopt);
}

TEST(AsyncCopy, ABufferThatOthersReadMayNotBeFilledAgain) {
  const std::string start = kFirst + "cp.async.wait_group 0; bar.sync 0;" + kReadOther;
  EXPECT_NE(run_body(start + kFirst).finding, std::nullopt);  // which of two depends on who comes first
  EXPECT_EQ(run_body(start + "bar.sync 0;" + kFirst).finding, std::nullopt);
}

TEST(AsyncCopy, FillsWithZerosWhatTheSourceLacks) {
  for (const auto& [bytes, value] : {std::pair{0, 0}, {4, 0}, {8, 6}}) {
    std::string copy = "cp.async.ca.shared.global [%s1], [%g1], 16, ";
    copy += std::to_string(bytes) + "; cp.async.wait_all; ld.shared.u32 %v1, [%s1+4]; st.global.u32 [%at], %v1;";
    const auto outcome = run_body(copy);
    ASSERT_EQ(outcome.finding, std::nullopt);
    EXPECT_EQ(outcome.out[1], static_cast<std::uint32_t>(value)) << bytes;
  }
}

TEST(AsyncCopy, ReadsNothingOfASourceOfNoBytes) {
  EXPECT_EQ(run_body("cp.async.cg.shared.global [%s1], [%g1+4096], 16, 0; cp.async.wait_all;").finding, std::nullopt);
  EXPECT_EQ(run_body("cp.async.cg.shared.global [%s1], [%g1+4096], 16, 16; cp.async.wait_all;").finding,
            Finding::kOutOfBounds);
}

TEST(AsyncCopy, BothAddressesMustBeAligned) {
  EXPECT_EQ(run_body("cp.async.cg.shared.global [%s1], [%g1+8], 16;").finding, Finding::kMisaligned);
  EXPECT_EQ(run_body("cp.async.cg.shared.global [%s1+4], [%g1], 16;").finding, Finding::kMisaligned);
  EXPECT_EQ(run_body("cp.async.ca.shared.global [%s1+4], [%g1+8], 4; cp.async.wait_all;").finding, std::nullopt);
}

}  // namespace
}  // namespace trireme::gpu
