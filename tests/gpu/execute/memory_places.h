// Where the tests of loads, stores and atomics let threads work: the same 16 bytes for each thread, its slot of the
// buffer, brought into the state space under test before the instruction and back after it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/gpu/execute/one_instruction.h"

namespace trireme::gpu {

inline constexpr std::size_t kSlotBytes = 16;
inline constexpr std::size_t kSlotThreads = 64;  // one block

struct MemoryPlace {
  std::string space{};    // of the instruction: "", ".global", ...
  std::string address{};  // as written between brackets
  std::string before{};
  std::string after{};  // brings the slot back into the buffer
  std::string variables{};
  std::string declared{};
};

// Generic addresses stand for shared memory, where they differ most from addresses of the space itself.
MemoryPlace global_place();
MemoryPlace shared_place();
MemoryPlace local_place();
MemoryPlace generic_place();
MemoryPlace constant_place();   // holds what slot_bytes() says, whatever the buffer does
MemoryPlace parameter_place();  // bytes 16 to 31 of one_bytes

// A byte pattern in which every slot differs.
std::vector<std::byte> slot_bytes();

// The place's parts around `text`.
OneInstruction at_place(const MemoryPlace& place, const std::string& text, const std::string& results,
                        const std::string& operands);

// `bytes` (at most 8) from `at`, little-endian.
inline std::uint64_t word(const std::byte* at, std::size_t bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}

}  // namespace trireme::gpu
