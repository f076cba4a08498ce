#include "tests/gpu/execute/lane_memory.h"

#include <algorithm>
#include <bit>

#include "tests/gpu/execute/block.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

constexpr std::uint64_t kSector = 32;
constexpr std::uint64_t kBanks = 32;

// How many different numbers there are; addresses that ascend, as they should, need no sorting.
template <class Numbers>
std::uint64_t distinct(Numbers begin, Numbers end) {
  if (!std::is_sorted(begin, end)) std::sort(begin, end);
  return static_cast<std::uint64_t>(std::unique(begin, end) - begin);
}

void count_global(Counters& counters, Use use, const Addresses& addresses, std::size_t bytes, Mask lanes) {
  std::array<std::uint64_t, kLanes * 2> sectors{};
  std::array<std::uint64_t, kLanes> starts{};
  std::size_t touched = 0;
  std::size_t count = 0;
  for_each_lane(lanes, [&](int lane) {
    starts[count++] = addresses[lane];
    sectors[touched++] = addresses[lane] / kSector;
  });
  const std::uint64_t asked = std::uint64_t{count} * bytes;
  const std::uint64_t useful = distinct(starts.begin(), starts.begin() + static_cast<std::ptrdiff_t>(count)) * bytes;
  counters.global_sectors += distinct(sectors.begin(), sectors.begin() + static_cast<std::ptrdiff_t>(touched));
  counters.global_sectors_needed += (useful + kSector - 1) / kSector;
  (use == Use::kStore ? counters.global_bytes_written : counters.global_bytes_read) += asked;
  if (use == Use::kUpdate) counters.global_bytes_written += asked;
  ++counters.global_accesses;
}

// Accesses of 8 bytes go by half warps, of 16 by quarters; lanes that want the same word of a bank share a turn.
void count_shared(Counters& counters, const Addresses& addresses, std::size_t bytes, Mask lanes) {
  const int together = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  for (int first = 0; first < kLanes; first += together) {
    const Mask group = lanes & (together == 32 ? kAllLanes : ((Mask{1} << together) - 1) << first);
    if (group == 0) continue;
    std::array<std::uint64_t, kLanes * 4> words{};
    std::size_t count = 0;
    for_each_lane(group, [&](int lane) {
      for (std::uint64_t at = 0; at < std::max<std::size_t>(bytes, 4); at += 4)
        words[count++] = (addresses[lane] + at) / 4;
    });
    const auto end = words.begin() + static_cast<std::ptrdiff_t>(count);
    const std::uint64_t different = distinct(words.begin(), end);
    std::array<std::uint8_t, kBanks> turns{};
    for (std::uint64_t i = 0; i < different; ++i) ++turns[words[i] % kBanks];
    counters.shared_passes += *std::max_element(turns.begin(), turns.end());
    ++counters.shared_passes_needed;
  }
}

}  // namespace

Addresses addresses_of(Warp& warp, const Instruction& instruction, std::size_t index, std::size_t which, Mask lanes) {
  Addresses addresses{};
  const auto offset = static_cast<std::uint64_t>(instruction.offsets[which]);
  if (instruction.bytes[index] == 4) {
    const auto* base = warp.lanes<std::uint32_t>(instruction.slots[index]);
    for_each_lane(lanes, [&](int lane) { addresses[lane] = static_cast<std::uint32_t>(base[lane] + offset); });
  } else {
    const auto* base = warp.lanes<std::uint64_t>(instruction.slots[index]);
    for_each_lane(lanes, [&](int lane) { addresses[lane] = base[lane] + offset; });
  }
  return addresses;
}

Space resolve(Space space, std::uint64_t& address) {
  if (space != Space::kGeneric) return space;
  const std::uint64_t window = address >> 56;
  const Space spaces[] = {Space::kGlobal, Space::kShared, Space::kLocal, Space::kParam};
  if (window == 0 || window > 3) return Space::kGlobal;
  address -= window << 56;
  return spaces[window];
}

std::byte* reach(Warp& warp, const Instruction& instruction, int lane, Space space, Use use, std::uint64_t address,
                 std::size_t bytes) {
  space = resolve(space, address);
  const auto fail = [&](Finding finding, const std::string& where) {
    warp.fault(finding, lane,
               (use == Use::kLoad    ? "reads "
                : use == Use::kStore ? "writes "
                                     : "updates ") +
                   where,
               instruction);
  };
  if (address % bytes != 0) {
    fail(Finding::kMisaligned,
         "address " + std::to_string(address) + ", which " + std::to_string(bytes) + " does not divide");
  }
  Block& block = warp.block();
  if (space == Space::kGlobal || space == Space::kConst) {
    const Actor actor = warp.actor(lane);
    GlobalAccess& global = block.global();
    std::byte* at = use == Use::kLoad    ? const_cast<std::byte*>(global.load(actor, address, bytes))
                    : use == Use::kStore ? global.store(actor, address, bytes)
                                         : global.update(actor, address, bytes);
    if (at == nullptr) {
      const auto [finding, where] = global.explain(actor, address, bytes, use != Use::kStore);
      fail(finding, where);
    }
    return at;
  }
  if (space == Space::kShared) {
    const Actor actor = warp.actor(lane);
    SharedMemory& shared = block.shared();
    std::byte* at = use == Use::kLoad    ? const_cast<std::byte*>(shared.load(actor, address, bytes))
                    : use == Use::kStore ? shared.store(actor, address, bytes)
                                         : shared.update(actor, address, bytes);
    if (at == nullptr) {
      const auto [finding, where] = shared.explain(address, bytes, use != Use::kStore);
      fail(finding, where);
    }
    return at;
  }
  const std::uint64_t size = space == Space::kLocal ? warp.program().local_bytes : block.parameters().size();
  if (address + bytes > size || address + bytes < address || (space == Space::kParam && use != Use::kLoad)) {
    fail(Finding::kOutOfBounds, std::string(space == Space::kLocal ? "local" : "parameter") + " byte " +
                                    std::to_string(address) + " of " + std::to_string(size));
  }
  if (space == Space::kLocal) return warp.local(lane) + address;
  return const_cast<std::byte*>(block.parameters().data()) + address;
}

void count_access(Warp& warp, Space space, Use use, const Addresses& addresses, std::size_t bytes, Mask lanes) {
  std::uint64_t first = addresses[static_cast<std::size_t>(std::countr_zero(lanes))];
  space = resolve(space, first);
  Counters& counters = warp.counters();
  if (space == Space::kLocal) {
    ++counters.local_accesses;
    return;
  }
  if (space == Space::kParam) return;
  if (bytes == 16) ++counters.wide_accesses;
  if (space == Space::kShared) {
    count_shared(counters, addresses, bytes, lanes);
  } else {
    count_global(counters, use, addresses, bytes, lanes);
  }
}

}  // namespace trireme::gpu
