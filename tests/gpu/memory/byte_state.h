// What is known of one byte of device or shared memory, besides its value. One test over a run of states answers
// bounds, use after free and initialisation at once: all bits of kReadable, or of kWritable, in every byte.
#pragma once

#include <cstdint>
#include <cstring>

namespace trireme::gpu {

enum ByteState : std::uint8_t {
  kNowhere = 0,    // no allocation's
  kReleased = 4,   // a freed allocation's
  kAllocated = 1,  // nobody has written it
  kInitialised = 3,
  kInFlight = 8,    // an asynchronous copy is going to write it
  kAbandoned = 17,  // an operation that was given up was going to write it (GlobalMemory::abandon)
};
inline constexpr std::uint8_t kReadable = 3;
inline constexpr std::uint8_t kWritable = 1;

// Whether `wanted`'s bits are set in all of the `bytes` states.
inline bool all_are(const std::uint8_t* states, std::size_t bytes, std::uint8_t wanted) {
  const std::uint64_t wide = 0x0101010101010101u * wanted;
  while (bytes >= 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, states, 8);
    if ((eight & wide) != wide) return false;
    states += 8;
    bytes -= 8;
  }
  if (bytes == 4) {
    std::uint32_t four = 0;
    std::memcpy(&four, states, 4);
    return (four & static_cast<std::uint32_t>(wide)) == static_cast<std::uint32_t>(wide);
  }
  for (std::size_t i = 0; i < bytes; ++i) {
    if ((states[i] & wanted) != wanted) return false;
  }
  return true;
}

}  // namespace trireme::gpu
