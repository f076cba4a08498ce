#include "tests/cuda/device/cubin.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string_view>

#include <cxxabi.h>
#include <elf.h>

namespace trireme {
namespace {

template <class T>
T at(std::string_view bytes, std::size_t offset) {
  if (offset + sizeof(T) > bytes.size()) throw std::runtime_error("the object ends within a structure");
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

struct Section {
  std::string name;
  Elf64_Shdr header;
  std::string_view bytes;
};

std::vector<Section> sections_of(std::string_view elf) {
  const auto file = at<Elf64_Ehdr>(elf, 0);
  if (std::memcmp(file.e_ident, ELFMAG, SELFMAG) != 0) throw std::runtime_error("not an ELF file");
  std::vector<Section> sections;
  for (std::size_t i = 0; i < file.e_shnum; ++i) {
    const auto header = at<Elf64_Shdr>(elf, file.e_shoff + i * file.e_shentsize);
    const bool empty = header.sh_type == SHT_NOBITS || header.sh_type == SHT_NULL;
    sections.push_back({"", header, empty ? std::string_view() : elf.substr(header.sh_offset, header.sh_size)});
  }
  const std::string_view names = sections.at(file.e_shstrndx).bytes;
  for (Section& section : sections) section.name = names.data() + section.header.sh_name;
  return sections;
}

// "void trireme::cuda::(anonymous namespace)::rope_kernel<float>(float*, ...)": "rope_kernel<float>".
std::string short_name(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), std::free);
  std::string name = status == 0 ? demangled.get() : mangled;
  for (const std::string left_out : {"void ", "trireme::cuda::", "(anonymous namespace)::", "trireme::"})
    for (std::size_t found; (found = name.find(left_out)) != std::string::npos;) name.erase(found, left_out.size());
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

// Bits 73 to 75 of an access to memory: 4 is 32 bits, 5 64, 6 128; less is 8 or 16.
Instruction instruction(std::string_view code, std::size_t offset) {
  const std::uint32_t opcode = at<std::uint32_t>(code, offset) & 0xfff;
  const std::uint32_t size = at<std::uint64_t>(code, offset + 8) >> 9 & 7;
  constexpr std::uint32_t kBytes[] = {1, 1, 2, 2, 4, 8, 16, 16};
  return {opcode, kBytes[size]};
}

// By the kernel's mangled name, from the attributes of .nv.info: u8 form, u8 which, u16 bytes or value, then the bytes
// if the form is 4. Which 0x2f is {u32 symbol, u32 registers}.
std::map<std::string, int> registers_of(const std::vector<Section>& sections) {
  std::map<std::string, int> registers;
  const auto named = [&](const char* name) {
    return std::find_if(sections.begin(), sections.end(), [&](const Section& one) { return one.name == name; });
  };
  const auto info = named(".nv.info"), symbols = named(".symtab"), names = named(".strtab");
  if (info == sections.end() || symbols == sections.end() || names == sections.end()) return registers;
  for (std::size_t offset = 0; offset + 4 <= info->bytes.size();) {
    const auto form = at<std::uint8_t>(info->bytes, offset), which = at<std::uint8_t>(info->bytes, offset + 1);
    const auto bytes = form == 4 ? at<std::uint16_t>(info->bytes, offset + 2) : std::uint16_t{0};
    if (form == 4 && which == 0x2f) {
      const auto symbol = at<Elf64_Sym>(symbols->bytes, at<std::uint32_t>(info->bytes, offset + 4) * sizeof(Elf64_Sym));
      registers[names->bytes.data() + symbol.st_name] = at<int>(info->bytes, offset + 8);
    }
    offset += 4u + bytes;
  }
  return registers;
}

void read_cubin(std::string_view elf, int arch, std::vector<CompiledKernel>& kernels) {
  constexpr std::string_view kText = ".text.", kShared = ".nv.shared.";
  std::map<std::string, std::size_t> shared_bytes;
  const std::vector<Section> sections = sections_of(elf);
  std::map<std::string, int> registers = registers_of(sections);
  for (const Section& section : sections)
    if (section.name.starts_with(kShared)) shared_bytes[section.name.substr(kShared.size())] = section.header.sh_size;
  for (const Section& section : sections) {
    if (!section.name.starts_with(kText)) continue;
    const std::string mangled = section.name.substr(kText.size());
    CompiledKernel kernel{short_name(mangled), arch, registers[mangled], shared_bytes[mangled]};
    for (std::size_t offset = 0; offset + 16 <= section.bytes.size(); offset += 16)
      kernel.code.push_back(instruction(section.bytes, offset));
    kernels.push_back(std::move(kernel));
  }
}

void read_ptx(std::string_view ptx, std::vector<PtxKernel>& kernels) {
  constexpr std::string_view kEntry = ".entry ";
  for (std::size_t at = ptx.find(kEntry); at != std::string_view::npos;) {
    const std::size_t name = at + kEntry.size(), next = ptx.find(kEntry, name);
    kernels.push_back({short_name(std::string(ptx.substr(name, ptx.find('(', name) - name))),
                       std::string(ptx.substr(at, next - at))});
    at = next;
  }
}

constexpr std::uint16_t kPtx = 1, kElf = 2;

// each(kind, architecture, bytes) of every entry of every fat binary.
template <class Each>
void for_each_entry(std::string_view fat, const Each& each) {
  constexpr std::uint32_t kMagic = 0xba55ed50;
  for (std::size_t offset = 0; offset + 16 <= fat.size();) {
    if (at<std::uint32_t>(fat, offset) != kMagic) {
      offset += 8;  // between two
      continue;
    }
    std::size_t entry = offset + at<std::uint16_t>(fat, offset + 6);
    const std::size_t end = entry + at<std::uint64_t>(fat, offset + 8);
    while (entry < end) {
      const auto header_bytes = at<std::uint32_t>(fat, entry + 4);
      const auto payload_bytes = at<std::uint64_t>(fat, entry + 8);
      each(at<std::uint16_t>(fat, entry), at<int>(fat, entry + 28), fat.substr(entry + header_bytes, payload_bytes));
      entry += header_bytes + payload_bytes;
    }
    offset = end;
  }
}

template <class Each>
void for_each_entry_of(const std::filesystem::path& object, const Each& each) {
  std::ifstream in(object, std::ios::binary);
  if (!in) throw std::runtime_error("cannot open " + object.string());
  const std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (const Section& section : sections_of(file))
    if (section.name == ".nv_fatbin") for_each_entry(section.bytes, each);
}

}  // namespace

int CompiledKernel::count(std::uint32_t opcode) const {
  return static_cast<int>(
      std::count_if(code.begin(), code.end(), [&](const Instruction& one) { return one.opcode == opcode; }));
}
int CompiledKernel::count(std::uint32_t opcode, std::uint32_t bytes) const {
  return static_cast<int>(std::count_if(
      code.begin(), code.end(), [&](const Instruction& one) { return one.opcode == opcode && one.bytes == bytes; }));
}

int PtxKernel::count(std::string_view instruction) const {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(instruction, at)) != std::string::npos; at += instruction.size()) ++found;
  return found;
}

std::vector<CompiledKernel> read_kernels(const std::filesystem::path& object) {
  std::vector<CompiledKernel> kernels;
  for_each_entry_of(object, [&](std::uint16_t kind, int arch, std::string_view bytes) {
    if (kind == kElf) read_cubin(bytes, arch, kernels);
  });
  return kernels;
}

std::vector<PtxKernel> read_ptx_kernels(const std::filesystem::path& object) {
  std::vector<PtxKernel> kernels;
  for_each_entry_of(object, [&](std::uint16_t kind, int, std::string_view bytes) {
    if (kind == kPtx) read_ptx(bytes, kernels);
  });
  return kernels;
}

}  // namespace trireme
