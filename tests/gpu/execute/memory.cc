// ld and st: PTX ISA, "Data Movement and Conversion Instructions". A register may be wider than what is loaded
// (extended by sign or zero) or stored (cut). ld.global.nc is ld.global; that nothing writes there meanwhile, the race
// detector sees.
#include <algorithm>
#include <cstring>
#include <string>

#include "tests/gpu/execute/lane_memory.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

// What is loaded, T, to registers of R.
template <class T, class R>
void take(Warp& warp, const Instruction& instruction, const std::array<const std::byte*, kLanes>& from, Mask lanes) {
  for (int i = 0; i < instruction.count; ++i) {
    R* out = warp.lanes<R>(instruction.slots[i]);
    for_each_lane(lanes, [&](int lane) {
      T value{};
      std::memcpy(&value, from[lane] + sizeof(T) * i, sizeof(T));
      out[lane] = static_cast<R>(value);
    });
  }
}

template <class T, Space kSpace>
void load(Warp& warp, const Instruction& instruction, Mask lanes) {
  const std::size_t bytes = sizeof(T) * instruction.count;
  const Addresses addresses = addresses_of(warp, instruction, instruction.count, 0, lanes);
  std::array<const std::byte*, kLanes> from{};
  for_each_lane(lanes, [&](int lane) {
    from[lane] = reach(warp, instruction, lane, kSpace, Use::kLoad, addresses[lane], bytes);
  });
  if constexpr (kSpace != Space::kParam) count_access(warp, kSpace, Use::kLoad, addresses, bytes, lanes);
  switch (instruction.bytes[0]) {
    case 2:
      return take<T, std::uint16_t>(warp, instruction, from, lanes);
    case 4:
      return take<T, std::uint32_t>(warp, instruction, from, lanes);
    default:
      return take<T, std::uint64_t>(warp, instruction, from, lanes);
  }
}

template <class T, Space kSpace>
void store(Warp& warp, const Instruction& instruction, Mask lanes) {
  const std::size_t bytes = sizeof(T) * instruction.count;
  const Addresses addresses = addresses_of(warp, instruction, 0, 0, lanes);
  for_each_lane(lanes, [&](int lane) {
    std::byte* to = reach(warp, instruction, lane, kSpace, Use::kStore, addresses[lane], bytes);
    for (int i = 0; i < instruction.count; ++i) {
      const auto value = static_cast<T>(warp.value(instruction.slots[1 + i], instruction.bytes[1 + i], lane));
      std::memcpy(to + sizeof(T) * i, &value, sizeof(T));
    }
  });
  count_access(warp, kSpace, Use::kStore, addresses, bytes, lanes);
}

template <class T, Space kSpace>
void add_type(ModelTable& table, const std::string& space, const std::string& type) {
  for (const char* length : {"", ".v2", ".v4"}) {
    const std::size_t count = length[0] == '\0' ? 1 : static_cast<std::size_t>(length[2] - '0');
    if (sizeof(T) * count > 16) continue;
    std::string tail = length;
    tail.append(".").append(type);
    for (const char* kind : {"", ".volatile"})
      table.add("ld" + std::string(kind) + space + tail, {load<T, kSpace>, "va"});
    if constexpr (kSpace == Space::kGlobal) table.add("ld.global.nc" + tail, {load<T, kSpace>, "va"});
    if constexpr (kSpace != Space::kParam && kSpace != Space::kConst) {
      for (const char* kind : {"", ".volatile"})
        table.add("st" + std::string(kind) + space + tail, {store<T, kSpace>, "av"});
    }
  }
}

template <Space kSpace>
void add_space(ModelTable& table, const std::string& space) {
  add_type<std::uint8_t, kSpace>(table, space, "u8");
  add_type<std::int8_t, kSpace>(table, space, "s8");
  add_type<std::uint8_t, kSpace>(table, space, "b8");
  add_type<std::uint16_t, kSpace>(table, space, "u16");
  add_type<std::int16_t, kSpace>(table, space, "s16");
  add_type<std::uint16_t, kSpace>(table, space, "b16");
  add_type<std::uint32_t, kSpace>(table, space, "u32");
  add_type<std::int32_t, kSpace>(table, space, "s32");
  add_type<std::uint32_t, kSpace>(table, space, "b32");
  add_type<std::uint32_t, kSpace>(table, space, "f32");
  add_type<std::uint64_t, kSpace>(table, space, "u64");
  add_type<std::int64_t, kSpace>(table, space, "s64");
  add_type<std::uint64_t, kSpace>(table, space, "b64");
  add_type<std::uint64_t, kSpace>(table, space, "f64");
}

}  // namespace

void add_memory_models(ModelTable& table) {
  add_space<Space::kGeneric>(table, "");
  add_space<Space::kGlobal>(table, ".global");
  add_space<Space::kConst>(table, ".const");
  add_space<Space::kShared>(table, ".shared");
  add_space<Space::kLocal>(table, ".local");
  add_space<Space::kParam>(table, ".param");
}

}  // namespace trireme::gpu
