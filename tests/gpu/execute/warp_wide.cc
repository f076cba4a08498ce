// Shuffles, votes, matches, reductions over a warp, and its barrier: what lanes do together. The warp (warp.cc) has
// brought together the lanes that the mask names before a model here runs.
#include <algorithm>
#include <bit>
#include <string>

#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

using U32 = std::uint32_t;
using U64 = std::uint64_t;

enum class Shuffle : std::uint8_t { kUp, kDown, kButterfly, kIndex };

// PTX ISA, shfl.sync: c holds the clamp value in its lowest 5 bits and the segment mask in bits 8 to 12.
struct Source {
  int lane = 0;
  bool in_range = false;
};
Source source_of(Shuffle mode, int lane, U32 b, U32 c) {
  const int distance = static_cast<int>(b & 31);
  const int clamp = static_cast<int>(c & 31);
  const int segment = static_cast<int>(c >> 8 & 31);
  const int most = (lane & segment) | (clamp & ~segment);
  const int least = lane & segment;
  switch (mode) {
    case Shuffle::kUp:
      return {.lane = lane - distance, .in_range = lane - distance >= most};
    case Shuffle::kDown:
      return {.lane = lane + distance, .in_range = lane + distance <= most};
    case Shuffle::kButterfly:
      return {.lane = lane ^ distance, .in_range = (lane ^ distance) <= most};
    case Shuffle::kIndex:
      break;
  }
  const int from = least | (distance & ~segment);
  return {.lane = from, .in_range = from <= most};
}

// slots: d, p, a, b, c.
template <Shuffle kMode>
void shuffle(Warp& warp, const Instruction& instruction, Mask lanes) {
  std::array<U32, kLanes> values{};
  std::copy_n(warp.lanes<U32>(instruction.slots[2]), kLanes, values.begin());
  std::array<Source, kLanes> sources{};
  for_each_lane(lanes, [&](int lane) {
    sources[lane] = source_of(kMode, lane, warp.lanes<U32>(instruction.slots[3])[lane],
                              warp.lanes<U32>(instruction.slots[4])[lane]);
  });
  for_each_lane(lanes, [&](int lane) {
    const Source source = sources[lane].in_range ? sources[lane] : Source{.lane = lane, .in_range = false};
    if ((lanes >> source.lane & 1) == 0) {
      warp.fault(Finding::kInactiveLane, lane,
                 "takes the value of lane " + std::to_string(source.lane) + ", which takes no part", instruction);
    }
    warp.lanes<U32>(instruction.slots[0])[lane] = values[source.lane];
    warp.store(instruction.slots[1], 0, lane, source.in_range ? 1 : 0);
  });
}

void set_predicate(Warp& warp, Slot slot, Mask lanes, bool value) {
  Mask& out = warp.predicate(slot);
  out = (out & ~lanes) | (value ? lanes : 0);
}

enum class Vote : std::uint8_t { kAll, kAny, kUniform };

template <Vote kVote>
void vote(Warp& warp, const Instruction& instruction, Mask lanes) {
  const Mask set = warp.predicate(instruction.slots[1]) & lanes;
  const bool all = set == lanes;
  const bool answer = kVote == Vote::kAll ? all : kVote == Vote::kAny ? set != 0 : all || set == 0;
  set_predicate(warp, instruction.slots[0], lanes, answer);
}

void ballot(Warp& warp, const Instruction& instruction, Mask lanes) {
  const Mask set = warp.predicate(instruction.slots[1]) & lanes;
  for_each_lane(lanes, [&](int lane) { warp.lanes<U32>(instruction.slots[0])[lane] = set; });
}

template <class T>
Mask lanes_with(const T* values, T value, Mask lanes) {
  Mask same = 0;
  for_each_lane(lanes, [&](int lane) { same |= static_cast<Mask>(values[lane] == value) << lane; });
  return same;
}

template <class T>
void match_any(Warp& warp, const Instruction& instruction, Mask lanes) {
  std::array<T, kLanes> values{};
  std::copy_n(warp.lanes<T>(instruction.slots[2]), kLanes, values.begin());
  for_each_lane(lanes, [&](int lane) {
    warp.lanes<U32>(instruction.slots[0])[lane] = lanes_with(values.data(), values[lane], lanes);
  });
}

template <class T>
void match_all(Warp& warp, const Instruction& instruction, Mask lanes) {
  const T* values = warp.lanes<T>(instruction.slots[2]);
  const bool all = lanes_with(values, values[std::countr_zero(lanes)], lanes) == lanes;
  for_each_lane(lanes, [&](int lane) { warp.lanes<U32>(instruction.slots[0])[lane] = all ? lanes : 0; });
  set_predicate(warp, instruction.slots[1], lanes, all);
}

template <class T, auto kFunction>
void reduce(Warp& warp, const Instruction& instruction, Mask lanes) {
  const T* values = warp.lanes<T>(instruction.slots[1]);
  T result = values[std::countr_zero(lanes)];
  for_each_lane(lanes & (lanes - 1), [&](int lane) { result = kFunction(result, values[lane]); });
  for_each_lane(lanes, [&](int lane) { warp.lanes<T>(instruction.slots[0])[lane] = result; });
}

constexpr auto kAdd = [](auto a, auto b) {
  return static_cast<decltype(a)>(static_cast<U32>(a) + static_cast<U32>(b));
};
constexpr auto kMin = [](auto a, auto b) { return std::min(a, b); };
constexpr auto kMax = [](auto a, auto b) { return std::max(a, b); };
constexpr auto kAnd = [](auto a, auto b) { return a & b; };
constexpr auto kOr = [](auto a, auto b) { return a | b; };
constexpr auto kXor = [](auto a, auto b) { return a ^ b; };

// It orders the memory accesses of the lanes that it names. A warp has one clock, so one that leaves out lanes that are
// there orders nothing for the race detector, which may then ask for more than the ISA does.
void barrier(Warp& warp, const Instruction&, Mask lanes) {
  if (lanes == warp.alive()) warp.advance_clock(warp.clock() + 1);
}

void active_mask(Warp& warp, const Instruction& instruction, Mask lanes) {
  for_each_lane(lanes, [&](int lane) { warp.lanes<U32>(instruction.slots[0])[lane] = lanes; });
}

}  // namespace

void add_warp_models(ModelTable& table) {
  const auto add = [&](const std::string& name, Model model, const std::string& operands) {
    table.add(name, {model, operands, Flow::kTogether});
  };
  add("shfl.sync.up.b32", shuffle<Shuffle::kUp>, "Wwwwm");
  add("shfl.sync.down.b32", shuffle<Shuffle::kDown>, "Wwwwm");
  add("shfl.sync.bfly.b32", shuffle<Shuffle::kButterfly>, "Wwwwm");
  add("shfl.sync.idx.b32", shuffle<Shuffle::kIndex>, "Wwwwm");
  add("vote.sync.all.pred", vote<Vote::kAll>, "ppm");
  add("vote.sync.any.pred", vote<Vote::kAny>, "ppm");
  add("vote.sync.uni.pred", vote<Vote::kUniform>, "ppm");
  add("vote.sync.ballot.b32", ballot, "wpm");
  add("match.any.sync.b32", match_any<U32>, "Wwm");
  add("match.any.sync.b64", match_any<U64>, "Wdm");
  add("match.all.sync.b32", match_all<U32>, "Wwm");
  add("match.all.sync.b64", match_all<U64>, "Wdm");
  add("redux.sync.add.u32", reduce<U32, kAdd>, "wwm");
  add("redux.sync.add.s32", reduce<std::int32_t, kAdd>, "wwm");
  add("redux.sync.min.u32", reduce<U32, kMin>, "wwm");
  add("redux.sync.min.s32", reduce<std::int32_t, kMin>, "wwm");
  add("redux.sync.max.u32", reduce<U32, kMax>, "wwm");
  add("redux.sync.max.s32", reduce<std::int32_t, kMax>, "wwm");
  add("redux.sync.and.b32", reduce<U32, kAnd>, "wwm");
  add("redux.sync.or.b32", reduce<U32, kOr>, "wwm");
  add("redux.sync.xor.b32", reduce<U32, kXor>, "wwm");
  add("bar.warp.sync", barrier, "m");
  table.add("activemask.b32", {active_mask, "w"});
}

}  // namespace trireme::gpu
