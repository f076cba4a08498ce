// A library to preload before the stand-in's (run_with_gpu does, where TRIREME_GPU_PLANT names a plant): it stands
// between the program and the stand-in and makes one mistake, in a kernel's PTX or in what the program asks of the
// runtime. What finds each is in README.md, and a test each holds it to that.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>

#include "tests/gpu/plants/ptx_edit.h"

namespace {

using trireme::gpu::edited;
using trireme::gpu::PtxEdit;

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
};

std::string_view plant() {
  static const char* name = std::getenv("TRIREME_GPU_PLANT");
  return name == nullptr ? "" : name;
}
bool planted(std::string_view name) { return plant() == name; }

// The stand-in's own function behind this one. Its libraries come with a shared object that is opened at run time, so
// they are not among those that RTLD_NEXT looks through.
template <class Function>
Function* next(Function* /*of the same type*/, const char* name) {
  const std::string_view prefix(name, 4);
  const char* library = prefix == "nccl" ? "libnccl.so.2" : prefix == "cubl" ? "libcublasLt.so.13" : "libcudart.so.13";
  void* behind = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  void* found = behind == nullptr ? nullptr : dlsym(behind, name);
  if (found == nullptr) {
    std::fprintf(stderr, "plants: nothing behind %s\n", name);
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}
#define NEXT(function) next(&function, #function)

int rank() {
  const char* text = std::getenv("OMPI_COMM_WORLD_RANK");
  return text == nullptr ? 0 : std::atoi(text);
}

// True once, the `which`-th time that it is asked.
bool time_has_come(int which) {
  static int asked = 0;
  return asked++ == which;
}

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

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  if (planted("event-not-waited-for")) return cudaSuccess;
  return NEXT(cudaStreamWaitEvent)(stream, event, flags);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (planted("event-recorded-elsewhere")) stream = nullptr;
  return NEXT(cudaEventRecord)(event, stream);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (planted("wrong-kind-of-copy") && kind == cudaMemcpyHostToDevice) kind = cudaMemcpyDeviceToHost;
  if (planted("copy-too-long") && kind == cudaMemcpyHostToDevice) bytes += 4096;
  return NEXT(cudaMemcpyAsync)(to, from, bytes, kind, stream);
}

cudaError_t cudaFree(void* memory) {
  if (planted("memory-never-freed") && memory != nullptr) return cudaSuccess;
  return NEXT(cudaFree)(memory);
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  auto* original = next(static_cast<cudaError_t (*)(void**, std::size_t)>(&cudaMalloc), "cudaMalloc");
  if (planted("less-memory-than-asked-for") && bytes > 256) bytes = bytes / 2;
  const cudaError_t result = original(memory, bytes);
  if (planted("memory-freed-too-early") && result == cudaSuccess) NEXT(cudaFree)(*memory);
  return result;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (planted("shared-memory-not-asked-for") && attribute == cudaFuncAttributeMaxDynamicSharedMemorySize)
    return cudaSuccess;
  return NEXT(cudaFuncSetAttribute)(function, attribute, value);
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, std::size_t size, cudaDataType type,
                                                 std::uint64_t rows, std::uint64_t columns, std::int64_t stride) {
  if (planted("leading-dimension-off-by-one")) ++stride;
  return NEXT(cublasLtMatrixLayoutInit_internal)(layout, size, type, rows, columns, stride);
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t stride) {
  if (planted("leading-dimension-off-by-one")) ++stride;
  return NEXT(cublasLtMatrixLayoutCreate)(layout, type, rows, columns, stride);
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  // The last rank enters a broadcast where the others enter this sum.
  if (planted("another-collective-on-one-rank") && rank() == 1 && time_has_come(2))
    return ncclBroadcast(from, to, count, type, 0, comm, stream);
  return NEXT(ncclAllReduce)(from, to, count, type, op, comm, stream);
}

ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  if (planted("message-of-another-length") && rank() == 1 && time_has_come(2) && count > 1) --count;
  return NEXT(ncclSend)(from, count, type, peer, comm, stream);
}

}  // extern "C"
