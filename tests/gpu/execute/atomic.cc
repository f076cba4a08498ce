// atom and red: PTX ISA, "Parallel Synchronization and Communication Instructions". Lanes of a warp take turns in their
// order, which no program may rely on. Additions of f32 are rounded to nearest, with subnormals flushed in global
// memory as the ISA says.
#include <algorithm>
#include <cstring>
#include <string>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/lane_memory.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

// New value of memory from the old one and the operands b and c.
constexpr auto kAdd = [](auto old, auto b, auto) { return static_cast<decltype(old)>(old + b); };
constexpr auto kAddFlushed = [](float old, float b, float) { return flushed(canonical(flushed(old) + flushed(b))); };
constexpr auto kMin = [](auto old, auto b, auto) { return b < old ? b : old; };
constexpr auto kMax = [](auto old, auto b, auto) { return old < b ? b : old; };
constexpr auto kAnd = [](auto old, auto b, auto) { return old & b; };
constexpr auto kOr = [](auto old, auto b, auto) { return old | b; };
constexpr auto kXor = [](auto old, auto b, auto) { return old ^ b; };
constexpr auto kExchange = [](auto, auto b, auto) { return b; };
constexpr auto kCompare = [](auto old, auto b, auto c) { return old == b ? c : old; };
constexpr auto kIncrement = [](auto old, auto b, auto) { return old >= b ? decltype(old){0} : old + 1; };
constexpr auto kDecrement = [](auto old, auto b, auto) { return old == 0 || old > b ? b : old - 1; };

// slots: [old,] address, b [, c].
template <class T, Space kSpace, auto kFunction, bool kReturns>
void update(Warp& warp, const Instruction& instruction, Mask lanes) {
  constexpr std::size_t kAddress = kReturns ? 1 : 0;
  const Addresses addresses = addresses_of(warp, instruction, kAddress, 0, lanes);
  const T* b = warp.lanes<T>(instruction.slots[kAddress + 1]);
  const T* c = warp.lanes<T>(instruction.slots[kAddress + 2]);
  for_each_lane(lanes, [&](int lane) {
    std::byte* at = reach(warp, instruction, lane, kSpace, Use::kUpdate, addresses[lane], sizeof(T));
    T old{};
    std::memcpy(&old, at, sizeof(T));
    const T changed = static_cast<T>(kFunction(old, b[lane], c[lane]));
    std::memcpy(at, &changed, sizeof(T));
    if constexpr (kReturns) warp.lanes<T>(instruction.slots[0])[lane] = old;
  });
  count_access(warp, kSpace, Use::kUpdate, addresses, sizeof(T), lanes);
}

template <class T, Space kSpace, auto kFunction>
void add(ModelTable& table, const std::string& space, const std::string& operation, const std::string& type) {
  const std::string l = sizeof(T) == 4 ? "w" : "d";
  const std::string more = operation == "cas" ? l : "";
  for (const char* order : {"", ".relaxed.gpu", ".relaxed.cta", ".relaxed.sys", ".acq_rel.gpu"}) {
    std::string tail = order;
    tail.append(space).append(".").append(operation).append(".").append(type);
    table.add("atom" + tail, {update<T, kSpace, kFunction, true>, l + "a" + l + more});
    if (operation != "exch" && operation != "cas") {
      table.add("red" + tail, {update<T, kSpace, kFunction, false>, "a" + l});
    }
  }
}

template <class T, Space kSpace>
void add_bits(ModelTable& table, const std::string& space, const std::string& type) {
  add<T, kSpace, kAnd>(table, space, "and", type);
  add<T, kSpace, kOr>(table, space, "or", type);
  add<T, kSpace, kXor>(table, space, "xor", type);
  add<T, kSpace, kExchange>(table, space, "exch", type);
  add<T, kSpace, kCompare>(table, space, "cas", type);
}

template <class T, Space kSpace>
void add_order(ModelTable& table, const std::string& space, const std::string& type) {
  add<T, kSpace, kMin>(table, space, "min", type);
  add<T, kSpace, kMax>(table, space, "max", type);
}

template <Space kSpace>
void add_space(ModelTable& table, const std::string& space) {
  using U32 = std::uint32_t;
  using U64 = std::uint64_t;
  add_bits<U32, kSpace>(table, space, "b32");
  add_bits<U64, kSpace>(table, space, "b64");
  add_order<std::int32_t, kSpace>(table, space, "s32");
  add_order<U32, kSpace>(table, space, "u32");
  add_order<std::int64_t, kSpace>(table, space, "s64");
  add_order<U64, kSpace>(table, space, "u64");
  add<U32, kSpace, kAdd>(table, space, "add", "u32");
  add<U32, kSpace, kAdd>(table, space, "add", "s32");
  add<U64, kSpace, kAdd>(table, space, "add", "u64");
  add<double, kSpace, kAdd>(table, space, "add", "f64");
  if constexpr (kSpace == Space::kShared) {
    add<float, kSpace, kAdd>(table, space, "add", "f32");
  } else {
    add<float, kSpace, kAddFlushed>(table, space, "add", "f32");
  }
  add<U32, kSpace, kIncrement>(table, space, "inc", "u32");
  add<U32, kSpace, kDecrement>(table, space, "dec", "u32");
}

}  // namespace

void add_atomic_models(ModelTable& table) {
  add_space<Space::kGeneric>(table, "");
  add_space<Space::kGlobal>(table, ".global");
  add_space<Space::kShared>(table, ".shared");
}

}  // namespace trireme::gpu
