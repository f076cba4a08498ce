#include "tests/gpu/execute/names.h"

#include "tests/gpu/ptx/declarations.h"

namespace trireme::gpu {

Slots::Slots(Program& program) : program_(program) { add(8); }

Slot Slots::add(std::uint8_t bytes) {
  const Slot slot = program_.register_bytes;
  program_.register_bytes += bytes == 0 ? 64 : std::max<std::uint32_t>(64, bytes * kLanes);
  return slot;
}

Slot Slots::constant(std::uint64_t bits, std::uint8_t bytes) {
  if (bytes > 0 && bytes < 8) bits &= (std::uint64_t{1} << bytes * 8) - 1;
  const auto [found, is_new] = constants_.try_emplace({bits, bytes}, 0);
  if (is_new) {
    found->second = add(bytes);
    program_.constants.push_back({.slot = found->second, .bytes = bytes, .bits = bits});
  }
  return found->second;
}

Slot Slots::address(const std::string& variable, std::int64_t addend) {
  const auto [found, is_new] = addresses_.try_emplace({variable, addend}, 0);
  if (is_new) {
    found->second = add(8);
    program_.addresses.push_back({.slot = found->second, .variable = variable, .addend = addend});
  }
  return found->second;
}

Slot Slots::special(Special special) {
  const auto [found, is_new] = specials_.try_emplace(special, 0);
  if (is_new) {
    found->second = add(4);
    program_.specials.emplace_back(special, found->second);
  }
  return found->second;
}

namespace {

void add_registers(const Function& function, Slots& slots, Names& names) {
  for (const auto& declaration : function.registers) {
    const auto bytes = static_cast<std::uint8_t>(declaration.type == "pred" ? 0 : bytes_of_type(declaration.type));
    if (bytes > 8) throw Fault(Finding::kUnknownInstruction, "registers of 128 bits in " + function.name);
    if (declaration.count == 0) {
      names.registers[declaration.name] = {.slot = slots.add(bytes), .bytes = bytes};
      continue;
    }
    const bool renamed = declaration.name.find('@') != std::string::npos;
    for (std::uint32_t i = 0; i < declaration.count; ++i) {
      std::string name = declaration.name;
      if (renamed) name += '#';
      name += std::to_string(i);
      names.registers[name] = {.slot = kNoSlot, .bytes = bytes};
    }
  }
}

Place local_place(Program& program, std::uint32_t bytes, std::uint32_t alignment) {
  const Place place{.space = Space::kLocal, .offset = round_up(program.local_bytes, alignment), .bytes = bytes};
  program.local_bytes = place.offset + bytes;
  return place;
}

Place shared_place(Program& program, const Variable& variable) {
  const Place place{.space = Space::kShared,
                    .offset = round_up(program.dynamic_shared_offset, variable.alignment),
                    .bytes = variable.bytes};
  program.dynamic_shared_offset = place.offset + variable.bytes;
  return place;
}

}  // namespace

Names names_of(const Module& module, const Function& function, Program& program, Slots& slots) {
  Names names;
  add_registers(function, slots, names);
  if (!function.is_kernel) names.way_back = slots.add(4);
  for (const auto& parameter : function.parameters) {
    names.places[parameter.name] =
        function.is_kernel ? Place{.space = Space::kParam, .offset = parameter.offset, .bytes = parameter.bytes}
                           : local_place(program, parameter.bytes, 16);
  }
  for (const auto& result : function.results) names.places[result.name] = local_place(program, result.bytes, 16);
  for (const auto& variable : function.variables) {
    names.places[variable.name] = variable.space == Space::kShared
                                      ? shared_place(program, variable)
                                      : local_place(program, variable.bytes, std::max(variable.alignment, 8u));
  }
  for (const auto& variable : module.variables) {
    if (variable.space != Space::kShared) names.places[variable.name] = {.space = variable.space};
  }
  return names;
}

const std::map<std::string, Special>& special_registers() {
  static const std::map<std::string, Special> registers = {{"%tid.x", Special::kTidX},
                                                           {"%tid.y", Special::kTidY},
                                                           {"%tid.z", Special::kTidZ},
                                                           {"%ntid.x", Special::kNtidX},
                                                           {"%ntid.y", Special::kNtidY},
                                                           {"%ntid.z", Special::kNtidZ},
                                                           {"%ctaid.x", Special::kCtaidX},
                                                           {"%ctaid.y", Special::kCtaidY},
                                                           {"%ctaid.z", Special::kCtaidZ},
                                                           {"%nctaid.x", Special::kNctaidX},
                                                           {"%nctaid.y", Special::kNctaidY},
                                                           {"%nctaid.z", Special::kNctaidZ},
                                                           {"%laneid", Special::kLaneid},
                                                           {"%warpid", Special::kWarpid},
                                                           {"%nwarpid", Special::kNwarpid},
                                                           {"%lanemask_eq", Special::kLanemaskEq},
                                                           {"%lanemask_lt", Special::kLanemaskLt},
                                                           {"%lanemask_le", Special::kLanemaskLe},
                                                           {"%lanemask_gt", Special::kLanemaskGt},
                                                           {"%lanemask_ge", Special::kLanemaskGe},
                                                           {"%dynamic_smem_size", Special::kDynamicShared}};
  return registers;
}

}  // namespace trireme::gpu
