// PTX ISA 9.0, 9.7.9.6 shfl.sync, 9.7.13.9 vote.sync, 9.7.13.10 match.sync, 9.7.13.11 activemask, 9.7.13.12 redux.sync
// and bar.warp.sync: what lanes give one another, by the ISA's own pseudocode.
#include <functional>

#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"

namespace trireme::gpu {
namespace {

using U32 = std::uint32_t;
using U64 = std::uint64_t;
constexpr int kWarp = 32;

// Warps of threads of which those in `mask` take part; the last operand of each is the mask.
struct Warps {
  std::vector<Thread> threads{};
  std::vector<U32> masks{};
};

// `values(lane)`: the operands before the mask.
Warps warps_of(const std::vector<U32>& masks, const std::function<std::vector<U64>(int warp, int lane)>& values) {
  Warps warps{.masks = masks};
  for (std::size_t warp = 0; warp < masks.size(); ++warp) {
    for (int lane = 0; lane < kWarp; ++lane) {
      Thread thread{.takes_part = (masks[warp] >> lane & 1) != 0, .kept = {0xABCD, 1}};
      thread.operands = values(static_cast<int>(warp), lane);
      thread.operands.push_back(masks[warp]);
      warps.threads.push_back(std::move(thread));
    }
  }
  return warps;
}

const std::vector<U32> kMasks = {0xFFFFFFFF, 0x0000FFFF, 0xFFFF0000, 0x55555555,
                                 0x80000001, 0x00000100, 0x7FFFFFFE, 0x12345678};

struct Shuffled {
  int lane;
  bool in_range;
};
Shuffled source(const std::string& mode, int lane, U32 b, U32 c) {
  const int bval = b & 0x1F;
  const int cval = c & 0x1F;
  const int mask = c >> 8 & 0x1F;
  const int max_lane = (lane & mask) | (cval & ~mask);
  const int min_lane = lane & mask;
  int j = 0;
  bool in_range = false;
  if (mode == "up") j = lane - bval, in_range = j >= max_lane;
  if (mode == "down") j = lane + bval, in_range = j <= max_lane;
  if (mode == "bfly") j = lane ^ bval, in_range = j <= max_lane;
  if (mode == "idx") j = min_lane | (bval & ~mask), in_range = j <= max_lane;
  return {.lane = in_range ? j : lane, .in_range = in_range};
}

// Random distances, clamps and segment masks, as nvcc writes them among them; sources that take no part are undefined
// and so not asked for.
void expect_shuffle(const std::string& mode, bool with_predicate) {
  std::mt19937_64 generator(mode.size() + (with_predicate ? 10 : 0));
  std::vector<U32> masks;
  for (int i = 0; i < 128; ++i)
    masks.push_back(i < 96 ? 0xFFFFFFFF : kMasks[static_cast<std::size_t>(i) % kMasks.size()]);
  U32 b = 0;
  U32 c = 0;
  Warps warps = warps_of(masks, [&](int warp, int lane) {
    const bool differs = warp % 3 == 0;  // distances may differ from lane to lane
    if (lane == 0 || differs) b = static_cast<U32>(generator()) & 63;
    if (lane == 0) c = static_cast<U32>(generator()) & 0x1F1F;
    const U32 written[] = {0x1F, 0, 0x181F, 0x1C1F, 0x1E1F, 0x1000};
    if (lane == 0 && warp % 2 == 0) c = written[static_cast<std::size_t>(warp) / 2 % 6];
    const U32 mask = masks[static_cast<std::size_t>(warp)];
    U32 from = b;
    if ((mask >> source(mode, lane, from, c).lane & 1) == 0) from = mode == "idx" ? static_cast<U32>(lane) : 0;
    if ((mask >> source(mode, lane, from, c).lane & 1) == 0) from = static_cast<U32>(lane);
    return std::vector<U64>{generator() & 0xFFFFFFFF, from, c};
  });
  const std::string text = "shfl.sync." + mode + ".b32 $0" + (with_predicate ? "|$1" : "") + ", $2, $3, $4, $5;";
  const OneInstruction instruction{.text = text, .results = "wp", .operands = "wwww"};
  const Outcome outcome = run_one(instruction, warps.threads, Guard::kPredicate);
  for (std::size_t i = 0; i < warps.threads.size(); ++i) {
    const Thread& thread = warps.threads[i];
    const std::size_t first = i / kWarp * kWarp;
    const Shuffled from = source(mode, static_cast<int>(i % kWarp), static_cast<U32>(thread.operands[1]),
                                 static_cast<U32>(thread.operands[2]));
    const U64 value =
        thread.takes_part ? warps.threads[first + static_cast<std::size_t>(from.lane)].operands[0] : thread.kept[0];
    const U64 predicate = thread.takes_part && with_predicate ? from.in_range : thread.kept[1];
    ASSERT_EQ(outcome.results[i][0], value)
        << text << " in lane " << i % kWarp << " with" << elementwise::row_text(thread.operands);
    ASSERT_EQ(outcome.results[i][1], predicate)
        << text << " in lane " << i % kWarp << " with" << elementwise::row_text(thread.operands);
  }
}

TEST(WarpModel, ShufflesWithinSegmentsUpToTheClamp) {
  for (const char* mode : {"up", "down", "bfly", "idx"}) {
    expect_shuffle(mode, false);
    expect_shuffle(mode, true);
  }
}

// f(values of the lanes that take part, this lane's index among all 32): the results. `kept` stays elsewhere.
using Together = std::function<std::vector<U64>(const std::vector<U64>& values, U32 mask, int lane)>;

void expect_together(const std::string& text, const std::string& results, const std::string& operand,
                     const Warps& warps, const Together& f) {
  const OneInstruction instruction{.text = text, .results = results, .operands = operand + "w"};
  const Outcome outcome = run_one(instruction, warps.threads, Guard::kPredicate);
  for (std::size_t warp = 0; warp < warps.masks.size(); ++warp) {
    std::vector<U64> values;
    for (int lane = 0; lane < kWarp; ++lane)
      values.push_back(warps.threads[warp * kWarp + static_cast<std::size_t>(lane)].operands[0]);
    for (int lane = 0; lane < kWarp; ++lane) {
      const std::size_t i = warp * kWarp + static_cast<std::size_t>(lane);
      std::vector<U64> expected = warps.threads[i].kept;
      if (warps.threads[i].takes_part) expected = f(values, warps.masks[warp], lane);
      expected.resize(results.size());
      ASSERT_EQ(outcome.results[i], expected)
          << text << " with mask " << std::hex << warps.masks[warp] << " in lane " << std::dec << lane;
    }
  }
}

template <class Visit>
void each_lane(U32 mask, const Visit& visit) {
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1) != 0) visit(static_cast<std::size_t>(lane));
  }
}

TEST(WarpModel, VotesAmongTheLanesOfTheMask) {
  std::mt19937_64 generator(5);
  std::vector<U32> masks;
  for (int i = 0; i < 10; ++i) masks.insert(masks.end(), kMasks.begin(), kMasks.end());
  // All, none, and some: single dissenters too. Lanes outside of the mask say the opposite.
  const Warps warps = warps_of(masks, [&](int warp, int lane) -> std::vector<U64> {
    const bool inside = (masks[static_cast<std::size_t>(warp)] >> lane & 1) != 0;
    const U64 values[] = {inside, !inside, generator() & 1, generator() % 16 == 0, generator() % 16 != 0};
    return {values[static_cast<std::size_t>(warp) / kMasks.size() % 5]};
  });
  const auto ballot = [](const std::vector<U64>& values, U32 mask) {
    U32 bits = 0;
    each_lane(mask, [&](std::size_t lane) { bits |= static_cast<U32>(values[lane]) << lane; });
    return bits;
  };
  for (const bool negated : {false, true}) {
    const std::string operand = negated ? "!$1" : "$1";
    const auto votes = [&](const std::vector<U64>& values, U32 mask) {
      return negated ? mask & ~ballot(values, mask) : ballot(values, mask);
    };
    expect_together("vote.sync.ballot.b32 $0, " + operand + ", $2;", "w", "p", warps,
                    [&](const auto& v, U32 mask, int) -> std::vector<U64> { return {votes(v, mask)}; });
  }
  Warps predicates = warps;
  for (auto& thread : predicates.threads) thread.kept = {thread.operands[0] ^ 1};
  const auto expect_vote = [&](const std::string& mode, const std::function<bool(U32, U32)>& decide) {
    expect_together("vote.sync." + mode + ".pred $0, $1, $2;", "p", "p", predicates,
                    [&](const auto& v, U32 mask, int) -> std::vector<U64> { return {decide(ballot(v, mask), mask)}; });
  };
  expect_vote("all", [](U32 votes, U32 mask) { return votes == mask; });
  expect_vote("any", [](U32 votes, U32) { return votes != 0; });
  expect_vote("uni", [](U32 votes, U32 mask) { return votes == mask || votes == 0; });
}

TEST(WarpModel, MatchesEqualValues) {
  for (const char letter : {'w', 'd'}) {
    std::mt19937_64 generator(6);
    const Warps warps = warps_of(kMasks, [&](int warp, int) -> std::vector<U64> {
      const U64 value = warp % 2 == 0 ? 42 : generator() % 4;
      return {letter == 'd' ? value << 32 | 7 : value};
    });
    const std::string type = letter == 'w' ? ".b32" : ".b64";
    expect_together("match.any.sync" + type + " $0, $1, $2;", "w", {letter}, warps,
                    [](const auto& v, U32 mask, int lane) -> std::vector<U64> {
                      U32 equal = 0;
                      each_lane(mask, [&](std::size_t other) {
                        if (v[other] == v[static_cast<std::size_t>(lane)]) equal |= U32{1} << other;
                      });
                      return {equal};
                    });
    const auto all = [](const auto& v, U32 mask) {
      bool equal = true;
      each_lane(mask, [&](std::size_t a) { each_lane(mask, [&](std::size_t b) { equal = equal && v[a] == v[b]; }); });
      return equal;
    };
    expect_together("match.all.sync" + type + " $0|$1, $2, $3;", "wp", {letter}, warps,
                    [&](const auto& v, U32 mask, int) -> std::vector<U64> {
                      return {all(v, mask) ? mask : 0, all(v, mask)};
                    });
  }
}

TEST(WarpModel, ReducesOverTheLanesOfTheMask) {
  std::mt19937_64 generator(7);
  const Warps warps = warps_of(kMasks, [&](int, int) -> std::vector<U64> { return {elementwise::draw(generator, 4)}; });
  const auto expect_reduction = [&](const std::string& name, const std::function<U32(U32, U32)>& f) {
    expect_together("redux.sync." + name + " $0, $1, $2;", "w", "w", warps,
                    [&](const auto& v, U32 mask, int) -> std::vector<U64> {
                      bool first = true;
                      U32 result = 0;
                      each_lane(mask, [&](std::size_t lane) {
                        result = first ? static_cast<U32>(v[lane]) : f(result, static_cast<U32>(v[lane]));
                        first = false;
                      });
                      return {result};
                    });
  };
  const auto as_signed = [](U32 x) { return static_cast<std::int32_t>(x); };
  for (const char* type : {"u32", "s32"})
    expect_reduction(std::string("add.") + type, [](U32 a, U32 b) { return a + b; });
  expect_reduction("min.u32", [](U32 a, U32 b) { return std::min(a, b); });
  expect_reduction("max.u32", [](U32 a, U32 b) { return std::max(a, b); });
  expect_reduction("min.s32", [&](U32 a, U32 b) { return as_signed(a) < as_signed(b) ? a : b; });
  expect_reduction("max.s32", [&](U32 a, U32 b) { return as_signed(a) > as_signed(b) ? a : b; });
  expect_reduction("and.b32", [](U32 a, U32 b) { return a & b; });
  expect_reduction("or.b32", [](U32 a, U32 b) { return a | b; });
  expect_reduction("xor.b32", [](U32 a, U32 b) { return a ^ b; });
}

TEST(WarpModel, KnowsTheActiveLanes) {
  const Warps warps = warps_of(kMasks, [](int, int) -> std::vector<U64> { return {0}; });
  expect_together("activemask.b32 $0;", "w", "w", warps,
                  [](const auto&, U32 mask, int) -> std::vector<U64> { return {mask}; });
}

// Lanes exchange through shared memory, with a warp barrier between: no race, whatever the mask.
TEST(WarpModel, OrdersMemoryAtWarpBarriers) {
  const Warps warps = warps_of({0xFFFFFFFF, 0x0000FFFF}, [](int warp, int lane) -> std::vector<U64> {
    return {static_cast<U64>(100 * warp + lane)};
  });
  const OneInstruction instruction{
      .text = "bar.warp.sync $2;",
      .results = "w",
      .operands = "ww",
      .before =
          "mov.u32 %a, area;\nmov.u32 %t, %tid.x;\nshl.b32 %o, %t, 2;\nadd.u32 %mine, %a, %o;\nxor.b32 %o, %o, 4;\n"
          "add.u32 %theirs, %a, %o;\nst.shared.b32 [%mine], $1;\n",
      .after = "@%take ld.shared.b32 $0, [%theirs];\n",
      .variables = ".shared .align 4 .b8 area[256];\n",
      .declared = ".reg .b32 %a, %t, %o, %mine, %theirs;\n"};
  const Outcome outcome = run_one(instruction, warps.threads, Guard::kPredicate);
  for (std::size_t i = 0; i < warps.threads.size(); ++i) {
    const U64 expected = warps.threads[i].takes_part ? warps.threads[i ^ 1].operands[0] : warps.threads[i].kept[0];
    ASSERT_EQ(outcome.results[i][0], expected) << i;
  }
}

}  // namespace
}  // namespace trireme::gpu
