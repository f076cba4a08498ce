#include "tests/gpu/execute/memory_places.h"

namespace trireme::gpu {
namespace {

const char* const kRegisters =
    ".reg .b32 %thread;\n.reg .b64 %slot, %area, %from, %to, %x, %y, %where, %generic, %back;\n";
const char* const kOwnSlot =
    "mov.u32 %thread, %tid.x;\nmul.wide.u32 %slot, %thread, 16;\nadd.s64 %from, %buffer, %slot;\n"
    "ld.global.b64 %x, [%from];\nld.global.b64 %y, [%from+8];\n";
const char* const kBack = "st.global.b64 [%from], %x;\nst.global.b64 [%from+8], %y;\n";

}  // namespace

MemoryPlace global_place() {
  return {.space = ".global",
          .address = "%where+0",
          .before = std::string(kOwnSlot) + "add.s64 %where, %buffer, %slot;\n",
          .declared = kRegisters};
}

MemoryPlace shared_place() {
  return {.space = ".shared",
          .address = "%where",
          .before = std::string(kOwnSlot) +
                    "mov.u64 %area, area;\nadd.s64 %where, %area, %slot;\n"
                    "st.shared.b64 [%where], %x;\nst.shared.b64 [%where+8], %y;\nbar.sync 0;\n",
          .after = std::string("bar.sync 0;\nld.shared.b64 %x, [%where];\nld.shared.b64 %y, [%where+8];\n") + kBack,
          .variables = ".shared .align 16 .b8 area[1024];\n",
          .declared = kRegisters};
}

MemoryPlace local_place() {
  return {.space = ".local",
          .address = "%where+16",
          .before = std::string(kOwnSlot) +
                    "mov.u64 %where, mine;\nst.local.b64 [%where+16], %x;\nst.local.b64 [%where+24], %y;\n",
          .after = std::string("ld.local.b64 %x, [%where+16];\nld.local.b64 %y, [%where+24];\n") + kBack,
          .declared = std::string(".local .align 16 .b8 mine[48];\n") + kRegisters};
}

MemoryPlace generic_place() {
  MemoryPlace place = shared_place();
  place.space.clear();
  place.address = "%generic";
  place.before.append("cvta.shared.u64 %generic, %where;\n");
  return place;
}

MemoryPlace constant_place() {
  std::string bytes;
  for (const std::byte byte : slot_bytes()) {
    bytes.append(bytes.empty() ? "" : ", ").append(std::to_string(static_cast<int>(byte)));
  }
  return {.space = ".const",
          .address = "%where",
          .before = std::string(kOwnSlot) + "mov.u64 %area, table;\nadd.s64 %where, %area, %slot;\n",
          .variables = ".const .align 16 .b8 table[1024] = {" + bytes + "};\n",
          .declared = kRegisters};
}

MemoryPlace parameter_place() {
  return {.space = ".param", .address = "one_bytes+16", .before = kOwnSlot, .declared = kRegisters};
}

std::vector<std::byte> slot_bytes() {
  std::vector<std::byte> bytes(kSlotThreads * kSlotBytes);
  std::uint32_t state = 12345;
  for (auto& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

OneInstruction at_place(const MemoryPlace& place, const std::string& text, const std::string& results,
                        const std::string& operands) {
  return {.text = text,
          .results = results,
          .operands = operands,
          .before = place.before,
          .after = place.after,
          .variables = place.variables,
          .declared = place.declared};
}

}  // namespace trireme::gpu
