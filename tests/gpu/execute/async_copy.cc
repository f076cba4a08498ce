// cp.async and its groups: PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy". A copy lands as
// late as it may: when its thread waits for its group. Until then its target is in flight, and reading it is a finding;
// then it counts as written by that thread, so that others need a barrier after the wait.
#include <algorithm>
#include <cstring>
#include <string>

#include "tests/gpu/execute/block.h"
#include "tests/gpu/execute/lane_memory.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

// cp.async may be told to read fewer bytes than the address is aligned to.
const std::byte* source(Warp& warp, const Instruction& instruction, int lane, std::uint64_t address,
                        std::size_t bytes) {
  const Actor actor = warp.actor(lane);
  GlobalAccess& global = warp.block().global();
  const std::byte* at = global.load(actor, address, bytes);
  if (at == nullptr) {
    const auto [finding, where] = global.explain(actor, address, bytes, true);
    warp.fault(finding, lane, "copies from " + where, instruction);
  }
  return at;
}

// slots: shared address, global address, bytes, bytes of the source that count (kNoSlot: all); the rest becomes zero.
void begin_copy(Warp& warp, const Instruction& instruction, Mask lanes) {
  const Addresses to = addresses_of(warp, instruction, 0, 0, lanes);
  const Addresses from = addresses_of(warp, instruction, 1, 1, lanes);
  const std::size_t bytes = instruction.slots[2];
  Mask reading = 0;
  for_each_lane(lanes, [&](int lane) {
    const std::size_t wanted =
        instruction.slots[3] == kNoSlot
            ? bytes
            : std::min<std::size_t>(bytes, warp.lanes<std::uint32_t>(instruction.slots[3])[lane]);
    if (to[lane] % bytes != 0 || from[lane] % bytes != 0) {
      warp.fault(Finding::kMisaligned, lane,
                 "copies between addresses that " + std::to_string(bytes) + " does not divide", instruction);
    }
    SharedMemory& shared = warp.block().shared();
    if (!shared.take_off(warp.actor(lane), to[lane], bytes)) {
      const auto [finding, where] = shared.explain(to[lane], bytes, false);
      warp.fault(finding, lane, "copies to " + where, instruction);
    }
    // Whether the source may be read is known now; what is there is taken when the copy lands.
    if (wanted > 0) source(warp, instruction, lane, from[lane], wanted);
    reading |= static_cast<Mask>(wanted > 0) << lane;
    warp.copies[lane].begun.push_back({.to = to[lane],
                                       .from = from[lane],
                                       .bytes = static_cast<std::uint8_t>(bytes),
                                       .source_bytes = static_cast<std::uint8_t>(wanted),
                                       .instruction = &instruction});
  });
  if (reading != 0) count_access(warp, Space::kGlobal, Use::kLoad, from, bytes, reading);
  ++warp.counters().async_copies;
}

void land(Warp& warp, int lane, const Warp::Copy& copy) {
  SharedMemory& shared = warp.block().shared();
  std::byte* to = shared.land(warp.actor(lane), copy.to, copy.bytes);
  if (to == nullptr) {
    const auto [finding, where] = shared.explain(copy.to, copy.bytes, false);
    warp.fault(finding, lane, "copies to " + where, *copy.instruction);
  }
  std::memset(to, 0, copy.bytes);
  if (copy.source_bytes > 0) {
    std::memcpy(to, source(warp, *copy.instruction, lane, copy.from, copy.source_bytes), copy.source_bytes);
  }
}

void commit(Warp& warp, const Instruction&, Mask lanes) {
  for_each_lane(lanes, [&](int lane) {
    auto& copies = warp.copies[lane];
    copies.group_ends.push_back(copies.begun.size());
  });
}

// All but the last slots[0] groups have landed.
void wait_group(Warp& warp, const Instruction& instruction, Mask lanes) {
  const std::size_t keep = instruction.slots[0];
  for_each_lane(lanes, [&](int lane) {
    auto& copies = warp.copies[lane];
    const std::size_t groups = copies.group_ends.size();
    if (groups <= keep) return;
    const std::size_t count = copies.group_ends[groups - keep - 1];
    // Empty groups are groups too: those that stay must not be taken for done.
    copies.group_ends.erase(copies.group_ends.begin(),
                            copies.group_ends.begin() + static_cast<std::ptrdiff_t>(groups - keep));
    for (auto& end : copies.group_ends) end -= count;
    for (std::size_t i = 0; i < count; ++i) land(warp, lane, copies.begun[i]);
    copies.begun.erase(copies.begun.begin(), copies.begun.begin() + static_cast<std::ptrdiff_t>(count));
  });
}

void wait_all(Warp& warp, const Instruction&, Mask lanes) {
  for_each_lane(lanes, [&](int lane) {
    auto& copies = warp.copies[lane];
    for (const auto& copy : copies.begun) land(warp, lane, copy);
    copies = {};
  });
}

}  // namespace

void add_async_copy_models(ModelTable& table) {
  table.add("cp.async.ca.shared.global", {begin_copy, "aai?w"});
  table.add("cp.async.cg.shared.global", {begin_copy, "aai?w"});
  table.add("cp.async.commit_group", {commit, ""});
  table.add("cp.async.wait_group", {wait_group, "i"});
  table.add("cp.async.wait_all", {wait_all, ""});
}

}  // namespace trireme::gpu
