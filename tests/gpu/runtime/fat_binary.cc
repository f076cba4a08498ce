#include "tests/gpu/runtime/fat_binary.h"

#include <cstring>

#include <elf.h>

#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {
namespace {

constexpr std::uint32_t kWrapperMagic = 0x466243b1;
constexpr std::uint32_t kBinaryMagic = 0xba55ed50;
constexpr std::uint16_t kPtx = 1;
constexpr std::uint16_t kElf = 2;

struct Wrapper {
  std::uint32_t magic;
  std::uint32_t version;
  const char* binary;
  const void* more;
};

struct BinaryHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t bytes;
};

struct EntryHeader {
  std::uint16_t kind;
  std::uint16_t version;
  std::uint32_t header_bytes;
  std::uint64_t payload_bytes;
  std::uint32_t compressed_bytes;
  std::uint32_t options;
  std::uint16_t minor;
  std::uint16_t major;
  std::uint32_t arch;
};

template <class T>
T read_at(const char* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

// A section of a cubin by its name; its header is zero where there is none.
Elf64_Shdr section(std::string_view elf, std::string_view name) {
  if (elf.size() < sizeof(Elf64_Ehdr) || elf.substr(0, SELFMAG) != ELFMAG) return {};
  const auto header = read_at<Elf64_Ehdr>(elf.data());
  const auto at = [&](std::size_t index) {
    const std::size_t offset = header.e_shoff + index * sizeof(Elf64_Shdr);
    return offset + sizeof(Elf64_Shdr) <= elf.size() ? read_at<Elf64_Shdr>(elf.data() + offset) : Elf64_Shdr{};
  };
  const Elf64_Shdr names = at(header.e_shstrndx);
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr candidate = at(i);
    const std::size_t text = names.sh_offset + candidate.sh_name;
    if (text + name.size() < elf.size() && elf.substr(text, name.size()) == name && elf[text + name.size()] == '\0')
      return candidate;
  }
  return {};
}

}  // namespace

std::vector<FatBinaryEntry> read_fat_binary(const void* wrapper) {
  const auto outer = read_at<Wrapper>(static_cast<const char*>(wrapper));
  if (outer.magic != kWrapperMagic) throw Refusal(cudaErrorInvalidKernelImage, "this is no fat binary of nvcc's");
  if (outer.version != 1)
    throw Refusal(cudaErrorInvalidKernelImage, "relocatable device code (nvcc -rdc=true) is not supported here");
  const auto header = read_at<BinaryHeader>(outer.binary);
  if (header.magic != kBinaryMagic || header.version != 1)
    throw Refusal(cudaErrorInvalidKernelImage, "this fat binary is laid out in another way than nvcc 13's");
  std::vector<FatBinaryEntry> entries;
  const char* at = outer.binary + header.header_bytes;
  const char* const end = at + header.bytes;
  while (at + sizeof(EntryHeader) <= end) {
    const auto entry = read_at<EntryHeader>(at);
    const auto left = static_cast<std::uint64_t>(end - at);
    if (entry.header_bytes < sizeof(EntryHeader) || entry.header_bytes > left ||
        entry.payload_bytes > left - entry.header_bytes)
      throw Refusal(cudaErrorInvalidKernelImage, "an entry of a fat binary is longer than what holds it");
    const char* payload = at + entry.header_bytes;
    const bool compressed = entry.compressed_bytes != 0;
    if (entry.kind == kPtx || entry.kind == kElf) {
      const std::size_t bytes =
          entry.kind == kPtx && !compressed ? strnlen(payload, entry.payload_bytes) : entry.payload_bytes;
      entries.push_back({entry.kind == kPtx, compressed, static_cast<int>(entry.arch), {payload, bytes}});
    }
    at = payload + entry.payload_bytes;
  }
  return entries;
}

std::string_view ptx_for(const std::vector<FatBinaryEntry>& entries, int arch) {
  const FatBinaryEntry* best = nullptr;
  for (const FatBinaryEntry& entry : entries)
    if (entry.is_ptx && entry.arch <= arch && (best == nullptr || entry.arch > best->arch)) best = &entry;
  if (best == nullptr)
    throw Refusal(cudaErrorNoKernelImageForDevice,
                  "the program holds no PTX for sm_" + std::to_string(arch) +
                      " or older; compile with -gencode arch=compute_80,code=compute_80");
  if (best->is_compressed)
    throw Refusal(cudaErrorNoKernelImageForDevice,
                  "the program's PTX is compressed, which a driver reads and this stand-in does not; compile with "
                  "nvcc --no-compress");
  return best->payload;
}

// From .nv.info, a list of (u8 form, u8 attribute, u16 bytes, value); the attribute 0x2f gives, for the symbol of a
// kernel, its number of registers. The section of the kernel's code names the symbol.
int registers_of(const std::vector<FatBinaryEntry>& entries, int arch, std::string_view kernel) {
  constexpr std::uint8_t kSized = 4;
  constexpr std::uint8_t kRegisterCount = 0x2f;
  constexpr std::uint32_t kSymbolMask = 0xffffff;
  for (const FatBinaryEntry& entry : entries) {
    if (entry.is_ptx || entry.is_compressed || entry.arch != arch) continue;
    const Elf64_Shdr code = section(entry.payload, std::string(".text.").append(kernel));
    const Elf64_Shdr info = section(entry.payload, ".nv.info");
    if (code.sh_size == 0 || info.sh_offset + info.sh_size > entry.payload.size()) continue;
    const char* at = entry.payload.data() + info.sh_offset;
    for (const char* const end = at + info.sh_size; at + 4 <= end;) {
      const auto form = read_at<std::uint8_t>(at);
      const auto bytes = read_at<std::uint16_t>(at + 2);
      if (form == kSized && read_at<std::uint8_t>(at + 1) == kRegisterCount && bytes == 8 && at + 12 <= end &&
          read_at<std::uint32_t>(at + 4) == (code.sh_info & kSymbolMask))
        return read_at<std::int32_t>(at + 8);
      at += form == kSized ? 4 + bytes : 4;
    }
  }
  return 0;
}

}  // namespace trireme::gpu
