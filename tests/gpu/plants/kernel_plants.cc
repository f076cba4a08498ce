// Mistakes in kernels: where nvcc's registration of the shared object passes by, its PTX is edited.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/gpu/plants/preload.h"
#include "tests/gpu/plants/ptx_edit.h"

namespace {

using trireme::gpu::edited;
using trireme::gpu::PtxEdit;
using trireme::gpu::plants::plant;
using trireme::gpu::plants::planted;

struct InKernel {
  std::string_view name;
  PtxEdit edit;
};
constexpr InKernel kInKernels[] = {
    {"barrier-missing-in-attention", {"attention_forward", R"(bar\.sync\s+0;)", 1, ""}},
    {"barrier-missing-in-a-row-sum", {"rmsnorm_forward_kernelILi256", R"(bar\.sync\s+0;)", 1, ""}},
    {"barrier-not-met-by-all", {"rmsnorm_forward_kernelILi256", R"(bar\.sync\s+0;)", 0, "@%p2 bar.sync 0;"}},
    {"copies-not-waited-for", {"attention_forward", R"(cp\.async\.wait_(group\s+\d+|all);)", 0, ""}},
    {"tail-beyond-the-end", {"GeluE", R"(setp\.lt\.s64(\s+%p\d+, %rd\d+), 4;)", 0, "setp.lt.s64$1, 3;"}},
    {"lanes-swapped-for-mma",
     {"attention_forward", R"((mma\.sync\S+\s+\{[^}]*\}, \{)(%r\d+), (%r\d+))", 0, "$1$3, $2"}},
    {"shuffle-under-divergence", {"rmsnorm_forward_kernelILi256", R"(^\s*shfl)", 0, "@%p2 shfl"}},
    {"blocks-that-write-the-same", {"GeluE", R"(mov\.u32(\s+%r\d+), %ctaid\.x;)", 0, "mov.u32$1, 0;"}},
    {"vector-load-off-by-one", {"GeluE", R"((ld\.global\S*\.v4\.\S+\s+.*\[%rd\d+)\])", 0, "$1+4]"}},
    {"shared-memory-not-written", {"rmsnorm_forward_kernelILi256", R"(^\s*(@%p\d+ )?st\.shared[^;]*;)", 0, ""}},
    // head % kv_heads for head / (heads / kv_heads); behind %rd1 + 8 lie heads and kv_heads.
    {"keys-of-another-group",
     {"24attention_forward_kernelI", R"(div\.s32\s+(%r\d+), (%r\d+), (%r\d+);)", 2,
      "ld.param.u32 $1, [%rd1+12]; rem.s32 $1, $2, $1;"}},
    // The mask is begin > key || key >= end; one of its columns looks at begin only.
    {"mask-without-its-end",
     {"24attention_forward_kernelI", R"(or\.pred\s+(%p\d+), (%p\d+), (%p\d+);)", 1, "or.pred $1, $2, $2;"}},
    // Between the lanes of a warp, that write rows of a tile and read each other's.
    {"warp-barrier-missing", {"24attention_forward_kernelI", R"(bar\.warp\.sync\s+-1;)", 1, ""}},
    // A pack of one element stores two, which stays inside of what Device::allocate took.
    {"tail-stored-too-far", {"GeluE", R"(setp\.lt\.s64(\s+%p\d+, %rd\d+), 2;)", 1, "setp.lt.s64$1, 1;"}},
    // Behind the loop: it matters where the loop has not run.
    {"barrier-missing-behind-a-loop", {"20attention_dkv_kernelI", R"(bar\.sync\s+0;)", 1, ""}},
};

struct Wrapper {
  std::uint32_t magic, version;
  const std::byte* binary;
  void* more;
};

template <class T>
T read(const std::byte* from) {
  T value{};
  std::memcpy(&value, from, sizeof value);
  return value;
}

// A copy of the fat binary (its layout: tests/gpu/runtime/fat_binary.h) in which every PTX that has the place is
// edited; it stays for good, as the first one does.
const std::byte* planted_binary(const std::byte* binary, const PtxEdit& edit) {
  const std::size_t header = read<std::uint16_t>(binary + 6);
  const std::size_t end = header + read<std::uint64_t>(binary + 8);
  auto* copy = new std::vector<std::byte>(binary, binary + header);
  for (std::size_t at = header; at < end;) {
    const std::size_t entry_header = read<std::uint32_t>(binary + at + 4);
    const std::size_t payload = read<std::uint64_t>(binary + at + 8);
    const std::size_t begin = copy->size();
    copy->insert(copy->end(), binary + at, binary + at + entry_header + payload);
    if (read<std::uint16_t>(binary + at) == 1) {
      const auto* text = reinterpret_cast<const char*>(binary + at + entry_header);
      if (const auto changed = edited({text, strnlen(text, payload)}, edit)) {
        std::fprintf(stderr, "plants: %s planted\n", std::string(plant()).c_str());
        const std::uint64_t bytes = (changed->size() + 8) / 8 * 8;  // with a zero at its end
        copy->resize(begin + entry_header);
        std::memcpy(copy->data() + begin + 8, &bytes, sizeof bytes);
        const auto* from = reinterpret_cast<const std::byte*>(changed->data());
        copy->insert(copy->end(), from, from + changed->size());
        copy->resize(begin + entry_header + bytes);
      }
    }
    at += entry_header + payload;
  }
  const std::uint64_t entries = copy->size() - header;
  std::memcpy(copy->data() + 8, &entries, sizeof entries);
  return copy->data();
}

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* given);  // of nvcc's, declared nowhere that g++ may read
void** __cudaRegisterFatBinary(void* given) {
  auto* original = NEXT(__cudaRegisterFatBinary);
  for (const InKernel& mistake : kInKernels) {
    if (!planted(mistake.name)) continue;
    auto* wrapper = new Wrapper(*static_cast<const Wrapper*>(given));
    wrapper->binary = planted_binary(wrapper->binary, mistake.edit);
    return original(wrapper);
  }
  return original(given);
}

}  // extern "C"
