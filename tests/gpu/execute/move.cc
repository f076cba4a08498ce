// mov, packing and unpacking, and addresses between their spaces and the generic one: PTX ISA, "Data Movement and
// Conversion Instructions". A generic address of global, constant or managed memory is the address itself.
#include <string>

#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

using U64 = std::uint64_t;

constexpr auto kSame = [](auto x) { return x; };

// The first of the vector is the lowest part.
template <class Whole, class Part>
void pack(Warp& warp, const Instruction& instruction, Mask lanes) {
  Whole* out = warp.lanes<Whole>(instruction.slots[0]);
  for_each_lane(lanes, [&](int lane) {
    Whole whole = 0;
    for (int i = 0; i < instruction.count; ++i) {
      whole |= static_cast<Whole>(Whole{warp.lanes<Part>(instruction.slots[1 + i])[lane]} << (sizeof(Part) * 8 * i));
    }
    out[lane] = whole;
  });
}

template <class Whole, class Part>
void unpack(Warp& warp, const Instruction& instruction, Mask lanes) {
  const Whole* in = warp.lanes<Whole>(instruction.slots[instruction.count]);
  for_each_lane(lanes, [&](int lane) {
    const Whole whole = in[lane];
    for (int i = 0; i < instruction.count; ++i) {
      warp.lanes<Part>(instruction.slots[i])[lane] = static_cast<Part>(whole >> (sizeof(Part) * 8 * i));
    }
  });
}

template <class Whole, class Part>
void add_packing(ModelTable& table, const std::string& bits, const std::string& letter, const std::string& parts) {
  table.add("mov.b" + bits + ".pack" + parts, {pack<Whole, Part>, letter + "v"});
  table.add("mov.b" + bits + ".unpack" + parts, {unpack<Whole, Part>, "v" + letter});
}

template <U64 kWindow>
constexpr auto kToGeneric = [](U64 a) { return a + kWindow; };
template <U64 kWindow>
constexpr auto kFromGeneric = [](U64 a) { return a - kWindow; };

template <U64 kWindow>
void add_window(ModelTable& table, const std::string& space) {
  table.add("cvta." + space + ".u64", {Elementwise<U64, U64>::run<kToGeneric<kWindow>>, "dd"});
  table.add("cvta.to." + space + ".u64", {Elementwise<U64, U64>::run<kFromGeneric<kWindow>>, "dd"});
}

}  // namespace

void add_move_models(ModelTable& table) {
  for (const char* type : {"b16", "s16", "u16"}) {
    table.add(std::string("mov.") + type, {Elementwise<std::uint16_t, std::uint16_t>::run<kSame>, "hh"});
  }
  for (const char* type : {"b32", "s32", "u32", "f32"}) {
    table.add(std::string("mov.") + type, {Elementwise<std::uint32_t, std::uint32_t>::run<kSame>, "ww"});
  }
  for (const char* type : {"b64", "s64", "u64", "f64"}) {
    table.add(std::string("mov.") + type, {Elementwise<U64, U64>::run<kSame>, "dd"});
  }
  add_packing<std::uint32_t, std::uint16_t>(table, "32", "w", "2");
  add_packing<U64, std::uint32_t>(table, "64", "d", "2");
  add_packing<U64, std::uint16_t>(table, "64", "d", "4");
  for (const char* space : {"global", "const"}) add_window<0>(table, space);
  add_window<kSharedWindow>(table, "shared");
  add_window<kLocalWindow>(table, "local");
  add_window<kParameterWindow>(table, "param");
}

}  // namespace trireme::gpu
