// An instruction, decoded: what to do (a function over the 32 lanes of a warp) and where its operands lie. Registers,
// immediates and special registers are all slots of the warp's register file, chosen when the kernel was decoded, so
// that nothing is looked up while it runs.
//
// A slot is the offset in bytes of 32 lanes' values, side by side: 4 bytes in all for a predicate (a bit a lane), 64
// for 16-bit registers, 128 for 32, 256 for 64. Models are kept in one table (models.h), a file for each family.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "tests/gpu/ptx/statement.h"

namespace trireme::gpu {

using Mask = std::uint32_t;  // a bit a lane
inline constexpr int kLanes = 32;
inline constexpr Mask kAllLanes = ~Mask{0};

using Slot = std::uint32_t;
inline constexpr Slot kNoSlot = ~Slot{0};

class Warp;
struct Instruction;
using Model = void (*)(Warp& warp, const Instruction& instruction, Mask lanes);

// What becomes of the program counter.
enum class Flow : std::uint8_t {
  kNext,
  kBranch,  // to `target`
  kTable,   // brx.idx: to targets[slots[0]]
  kCall,    // to `target`, leaving the way back in slots[0]
  kReturn,  // to where slots[0] says
  kExit,
  kTogether,  // next, when all lanes that the mask in `mask_slot` names are here; kNoSlot: all 32
  kBarrier,   // next, when the block's other warps have come
};

struct Instruction {
  Model model = nullptr;
  Flow flow = Flow::kNext;
  bool guard_negated = false;
  std::uint8_t count = 1;  // registers of a vector
  std::uint8_t extra = 0;  // the model's own: a table of lop3, a barrier's kind
  Slot guard = kNoSlot;
  Slot mask_slot = kNoSlot;
  std::uint32_t target = 0;
  std::uint8_t addresses = 0;
  std::array<std::int64_t, 2> offsets{};  // added to the addresses, in their order
  std::array<Slot, 16> slots{};           // operands in the order of the text, vectors and pairs flattened
  std::array<std::uint8_t, 16> bytes{};   // of a lane's value in each slot; 0: a predicate
  const Statement* statement = nullptr;   // for messages, and what is rare
};

}  // namespace trireme::gpu
