// cudart's functions about kernels, and nvcc's: what the code that it generates calls to register what it compiled when
// an object is loaded, and to launch.
#include "tests/gpu/runtime/launch.h"

#include <vector>

#include <cuda_runtime_api.h>

using trireme::gpu::Binary;
using trireme::gpu::call;
using trireme::gpu::Gpu;
using trireme::gpu::launch;
using trireme::gpu::Modules;
using trireme::gpu::Refusal;

namespace {

struct CallConfiguration {
  dim3 grid;
  dim3 block;
  std::size_t dynamic_shared_bytes = 0;
  cudaStream_t stream = nullptr;
};
thread_local std::vector<CallConfiguration> configurations;  // of kernel<<<...>>> calls that are being made

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  return reinterpret_cast<void**>(Modules::of_process().add_binary(wrapper));
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void** binary) { Modules::of_process().close(reinterpret_cast<Binary*>(binary)); }
char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void** binary, const char* host_function, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  Modules::of_process().add_kernel(reinterpret_cast<Binary*>(binary), host_function, name);
}

void __cudaRegisterVar(void** binary, char* host_variable, char*, const char* name, int, std::size_t bytes, int, int) {
  Modules::of_process().add_variable(reinterpret_cast<Binary*>(binary), host_variable, name, bytes);
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host_function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(host_function));  // names the kernel as well as any handle
  return cudaSuccess;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t dynamic_shared_bytes, cudaStream_t stream) {
  configurations.push_back({grid, block, dynamic_shared_bytes, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* dynamic_shared_bytes, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  const CallConfiguration configuration = configurations.back();
  configurations.pop_back();
  *grid = configuration.grid;
  *block = configuration.block;
  *dynamic_shared_bytes = configuration.dynamic_shared_bytes;
  *static_cast<cudaStream_t*>(stream) = configuration.stream;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                             cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) { launch(gpu, kernel, grid, block, arguments, shared_bytes, stream); });
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                               cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void* kernel, void** arguments) {
  return call(__func__, [&](Gpu& gpu) {
    for (unsigned i = 0; i < configuration->numAttrs; ++i) {
      const cudaLaunchAttributeID id = configuration->attrs[i].id;
      if (id != cudaLaunchAttributeIgnore && id != cudaLaunchAttributePriority)
        throw Refusal(cudaErrorNotSupported, "launch attribute " + std::to_string(id) + " is not implemented");
    }
    launch(gpu, kernel, configuration->gridDim, configuration->blockDim, arguments, configuration->dynamicSmemBytes,
           configuration->stream);
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return call(__func__, [&](Gpu& gpu) { trireme::gpu::set_attribute(gpu, kernel, attribute, value); });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  return call(__func__, [&](Gpu& gpu) { *attributes = trireme::gpu::attributes_of(gpu, kernel); });
}

cudaError_t cudaFuncSetCacheConfig(const void* kernel, cudaFuncCache) {
  return call(__func__, [&](Gpu& gpu) { trireme::gpu::kernel_of(gpu, kernel); });  // a hint
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* kernel, int threads,
                                                                   std::size_t shared_bytes, unsigned) {
  return call(__func__, [&](Gpu& gpu) { *blocks = trireme::gpu::occupancy(gpu, kernel, threads, shared_bytes); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          std::size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, kernel, threads, shared_bytes, 0);
}

}  // extern "C"
