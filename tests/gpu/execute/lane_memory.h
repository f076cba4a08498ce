// A warp's accesses to memory: which address each lane means, whether it may, and what the hardware would have had to
// do for it. Loads, stores, atomics, ldmatrix and asynchronous copies all come through here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tests/gpu/execute/warp.h"

namespace trireme::gpu {

using Addresses = std::array<std::uint64_t, kLanes>;

// slots[index] + offsets[which], lane by lane; 32-bit registers count as unsigned.
Addresses addresses_of(Warp& warp, const Instruction& instruction, std::size_t index, std::size_t which, Mask lanes);

// Where an access of one lane lies on the host; faults for whatever is wrong with it. `kGeneric` addresses are sorted
// into the spaces; a launch's parameters can only be read.
enum class Use : std::uint8_t { kLoad, kStore, kUpdate };
std::byte* reach(Warp& warp, const Instruction& instruction, int lane, Space space, Use use, std::uint64_t address,
                 std::size_t bytes);

// What a generic address means: its space, and the address there.
Space resolve(Space space, std::uint64_t& address);

// Adds an access of a warp to its counters: sectors of 32 bytes of global memory, turns of the 32 banks of shared
// memory.
void count_access(Warp& warp, Space space, Use use, const Addresses& addresses, std::size_t bytes, Mask lanes);

}  // namespace trireme::gpu
