// Mistakes in what the program asks of cudart and cuBLASLt.
#include <cstdint>
#include <optional>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "tests/gpu/plants/preload.h"

using trireme::gpu::plants::next;
using trireme::gpu::plants::planted;
using trireme::gpu::plants::time_has_come;

namespace {

// An upload that is held back until an event was recorded that should come behind it.
struct Upload {
  void* to;
  const void* from;
  std::size_t bytes;
  cudaStream_t stream;
};
std::optional<Upload>& held_back() {
  static std::optional<Upload> upload;
  return upload;
}

// A launch as the program means it, and as it is made.
struct Launch {
  dim3 grid;
  std::size_t shared_bytes;
  cudaStream_t stream;
};
Launch mistaken(Launch launch) {
  if (planted("shared-memory-one-element-short") && launch.shared_bytes > 0) launch.shared_bytes -= 4;
  if (planted("grid-rounded-down") && launch.grid.x > 1) --launch.grid.x;
  // Of kernels that follow one another the second has no stream between its brackets.
  if (planted("kernel-on-the-default-stream") && time_has_come(1)) launch.stream = nullptr;
  return launch;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  if (planted("event-not-waited-for")) return cudaSuccess;
  return NEXT(cudaStreamWaitEvent)(stream, event, flags);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (planted("host-buffer-filled-too-early")) return cudaSuccess;
  return NEXT(cudaEventSynchronize)(event);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (planted("event-recorded-elsewhere")) stream = nullptr;
  const cudaError_t result = NEXT(cudaEventRecord)(event, stream);
  if (held_back()) {
    const Upload late = *held_back();
    held_back().reset();
    return NEXT(cudaMemcpyAsync)(late.to, late.from, late.bytes, cudaMemcpyHostToDevice, late.stream);
  }
  return result;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (planted("wrong-kind-of-copy") && kind == cudaMemcpyHostToDevice) kind = cudaMemcpyDeviceToHost;
  if (planted("copy-too-long") && kind == cudaMemcpyHostToDevice) bytes += 4096;
  if (planted("event-recorded-too-early") && kind == cudaMemcpyHostToDevice) {
    held_back() = {to, from, bytes, stream};
    return cudaSuccess;
  }
  return NEXT(cudaMemcpyAsync)(to, from, bytes, kind, stream);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  if (planted("host-buffer-read-too-early")) {
    function(data);
    return cudaSuccess;
  }
  return NEXT(cudaLaunchHostFunc)(stream, function, data);
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

cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                             cudaStream_t stream) {
  auto* original =
      next(static_cast<cudaError_t (*)(const void*, dim3, dim3, void**, std::size_t, cudaStream_t)>(&cudaLaunchKernel),
           "cudaLaunchKernel");
  const Launch made = mistaken({grid, shared_bytes, stream});
  return original(kernel, made.grid, block, arguments, made.shared_bytes, made.stream);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                               cudaStream_t stream);  // of nvcc's, declared nowhere that g++ may read
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                               cudaStream_t stream) {
  const Launch made = mistaken({grid, shared_bytes, stream});
  return NEXT(__cudaLaunchKernel)(kernel, made.grid, block, arguments, made.shared_bytes, made.stream);
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

cublasStatus_t cublasLtMatmul(cublasLtHandle_t library, cublasLtMatmulDesc_t call, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t of_a, const void* b, cublasLtMatrixLayout_t of_b, const void* beta,
                              const void* c, cublasLtMatrixLayout_t of_c, void* d, cublasLtMatrixLayout_t of_d,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  constexpr float kNothing = 0;
  if (planted("sum-overwritten")) beta = &kNothing;
  return NEXT(cublasLtMatmul)(library, call, alpha, a, of_a, b, of_b, beta, c, of_c, d, of_d, algorithm, workspace,
                              workspace_bytes, stream);
}

}  // extern "C"
