// What ptxas made of a kernel stands in the shared object that users get: registers, shared memory, stack, and the
// machine code itself. Read from there, nothing that is reported can differ from what runs, and neither ptxas nor
// cuobjdump is asked again.
//
// The layout is not documented; this is what nvcc 11 to 13 write. The section .nv_fatbin holds "fat binaries" (u32
// magic 0xba55ed50, u16 version, u16 header bytes, u64 bytes of entries), each entry u16 kind (1 PTX, 2 ELF), u16, u32
// header bytes, u64 payload bytes, ..., u32 architecture at byte 28. In a cubin, which is an ELF file, .text.KERNEL is
// the code, 16 bytes an instruction whose low 12 bits name it, and the top byte of its sh_info the registers;
// .nv.shared.KERNEL is as long as its static shared memory. Only uncompressed entries (--no-compress).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct Instruction {
  std::uint32_t opcode = 0;  // low 12 bits
  std::uint32_t bytes = 0;   // that a load or store moves for each thread; nothing else's
};

struct CompiledKernel {
  std::string name;  // demangled, without its parameters
  int arch = 0;      // 80, 90, 100
  int registers = 0;
  std::size_t shared_bytes = 0;
  std::vector<Instruction> code{};

  int count(std::uint32_t opcode) const;
  int count(std::uint32_t opcode, std::uint32_t bytes) const;
};

// Opcodes of sm_80 to sm_100, as nvdisasm names them.
namespace sass {
inline constexpr std::uint32_t kLoadLocal = 0x983, kStoreLocal = 0x387;
inline constexpr std::uint32_t kLoadGlobal = 0x981, kStoreGlobal = 0x986;
inline constexpr std::uint32_t kLoadShared = 0x984, kStoreShared = 0x388;
inline constexpr std::uint32_t kTensorCore = 0x23c, kLoadMatrix = 0x83b, kCopyToShared = 0xfae;
inline constexpr std::uint32_t kBarrier = 0xb1d, kShuffle = 0xf89;
}  // namespace sass

// Every kernel for every architecture in a shared object, in the order of the file.
std::vector<CompiledKernel> read_kernels(const std::filesystem::path& object);

// What ptxas was given, and newer GPUs are.
struct PtxKernel {
  std::string name;  // as above
  std::string text;

  int count(std::string_view instruction) const;  // whose name begins like this: "mma.sync.aligned.m16n8k16."
};
std::vector<PtxKernel> read_ptx_kernels(const std::filesystem::path& object);

}  // namespace trireme
