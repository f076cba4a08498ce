// nvcc puts what it compiled for each architecture into one "fat binary" and registers it when the program starts. The
// stand-in needs the PTX in it, as text. The layout is not documented; this is what nvcc 13 writes (and 11 and 12 did):
//
//   wrapper   u32 magic 0x466243b1, u32 version (1; 2: relocatable), pointer to the binary, pointer
//   binary    u32 magic 0xba55ed50, u16 version 1, u16 header bytes (16), u64 bytes of the entries that follow
//   entry     u16 kind (1 PTX, 2 ELF), u16, u32 header bytes, u64 payload bytes, u32 compressed bytes (0: plain), u32,
//             u16 minor, u16 major, u32 architecture (80), u32, u32, u64 flags, u64, u64 decompressed bytes;
//             then options, up to the header's bytes, and the payload, padded with zeros
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::gpu {

struct FatBinaryEntry {
  bool is_ptx = false;
  bool is_compressed = false;
  int arch = 0;
  std::string_view payload;  // of the registered binary; of PTX without its padding
};

// Of a registered wrapper, which stays where it is. Throws Refusal where it is not laid out as above.
std::vector<FatBinaryEntry> read_fat_binary(const void* wrapper);

// The PTX that a device of `arch` would compile: the newest that is not newer than it. Throws Refusal 209, with what to
// do, where there is none or it is compressed.
std::string_view ptx_for(const std::vector<FatBinaryEntry>& entries, int arch);

// Registers a thread of `kernel` takes in the machine code for exactly `arch`; 0 where there is none that is readable.
int registers_of(const std::vector<FatBinaryEntry>& entries, int arch, std::string_view kernel);

}  // namespace trireme::gpu
