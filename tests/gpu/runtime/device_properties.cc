// What a device says of itself, in CUDA's two forms. See devices.h.
#include <cstdio>
#include <cstring>

#include "tests/gpu/runtime/devices.h"
#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {
namespace {

constexpr int kWarpThreads = 32;
constexpr int kMaxGridX = 2147483647;
constexpr int kMaxGridYZ = 65535;
constexpr int kMaxBlockZ = 64;
constexpr int kL2Bytes = 50 << 20;

}  // namespace

cudaDeviceProp Devices::properties(int device) const {
  const int here = physical(device);
  cudaDeviceProp properties{};
  std::snprintf(properties.name, sizeof properties.name, "Trireme stand-in (sm_%d)", settings_.arch);
  std::snprintf(properties.uuid.bytes, sizeof properties.uuid.bytes, "trireme-gpu-%d", here);
  properties.totalGlobalMem = settings_.memory_bytes;
  properties.sharedMemPerBlock = static_cast<std::size_t>(limits_.shared_bytes_per_block);
  properties.sharedMemPerBlockOptin = static_cast<std::size_t>(limits_.shared_bytes_opt_in);
  properties.sharedMemPerMultiprocessor = static_cast<std::size_t>(limits_.shared_bytes_per_multiprocessor);
  properties.reservedSharedMemPerBlock = static_cast<std::size_t>(limits_.reserved_shared_bytes_per_block);
  properties.regsPerBlock = limits_.registers_per_multiprocessor;
  properties.regsPerMultiprocessor = limits_.registers_per_multiprocessor;
  properties.warpSize = kWarpThreads;
  properties.maxThreadsPerBlock = limits_.threads_per_block;
  properties.maxThreadsPerMultiProcessor = limits_.threads_per_multiprocessor;
  properties.maxBlocksPerMultiProcessor = limits_.blocks_per_multiprocessor;
  properties.maxThreadsDim[0] = properties.maxThreadsDim[1] = limits_.threads_per_block;
  properties.maxThreadsDim[2] = kMaxBlockZ;
  properties.maxGridSize[0] = kMaxGridX;
  properties.maxGridSize[1] = properties.maxGridSize[2] = kMaxGridYZ;
  properties.major = settings_.arch / 10;
  properties.minor = settings_.arch % 10;
  properties.multiProcessorCount = limits_.multiprocessors;
  properties.memPitch = kMaxGridX;
  properties.textureAlignment = 512;
  properties.totalConstMem = 64 << 10;
  properties.unifiedAddressing = 1;
  properties.canMapHostMemory = 1;
  properties.asyncEngineCount = 3;
  properties.concurrentKernels = 1;
  properties.streamPrioritiesSupported = 1;
  properties.l2CacheSize = kL2Bytes;
  properties.pciBusID = here + 1;
  return properties;
}

int Devices::attribute(int device, cudaDeviceAttr attribute) const {
  const cudaDeviceProp properties = this->properties(device);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return properties.maxThreadsPerBlock;
    case cudaDevAttrMaxBlockDimX:
      return properties.maxThreadsDim[0];
    case cudaDevAttrMaxBlockDimY:
      return properties.maxThreadsDim[1];
    case cudaDevAttrMaxBlockDimZ:
      return properties.maxThreadsDim[2];
    case cudaDevAttrMaxGridDimX:
      return properties.maxGridSize[0];
    case cudaDevAttrMaxGridDimY:
      return properties.maxGridSize[1];
    case cudaDevAttrMaxGridDimZ:
      return properties.maxGridSize[2];
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return limits_.shared_bytes_per_block;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return limits_.shared_bytes_opt_in;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return limits_.shared_bytes_per_multiprocessor;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return limits_.reserved_shared_bytes_per_block;
    case cudaDevAttrWarpSize:
      return kWarpThreads;
    case cudaDevAttrMaxRegistersPerBlock:
      return properties.regsPerBlock;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return properties.regsPerMultiprocessor;
    case cudaDevAttrMultiProcessorCount:
      return limits_.multiprocessors;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return limits_.threads_per_multiprocessor;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return limits_.blocks_per_multiprocessor;
    case cudaDevAttrComputeCapabilityMajor:
      return properties.major;
    case cudaDevAttrComputeCapabilityMinor:
      return properties.minor;
    case cudaDevAttrTotalConstantMemory:
      return static_cast<int>(properties.totalConstMem);
    case cudaDevAttrL2CacheSize:
      return properties.l2CacheSize;
    case cudaDevAttrUnifiedAddressing:
      return 1;
    case cudaDevAttrConcurrentKernels:
      return 1;
    case cudaDevAttrAsyncEngineCount:
      return properties.asyncEngineCount;
    case cudaDevAttrMemoryPoolsSupported:
      return 1;
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrClusterLaunch:
      return 0;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
    case cudaDevAttrGlobalMemoryBusWidth:
      return 0;  // nothing here has a speed
    case cudaDevAttrPciBusId:
      return properties.pciBusID;
    case cudaDevAttrComputeMode:
      return settings_.compute_mode == ComputeMode::kDefault            ? cudaComputeModeDefault
             : settings_.compute_mode == ComputeMode::kExclusiveProcess ? cudaComputeModeExclusiveProcess
                                                                        : cudaComputeModeProhibited;
    default:
      throw Refusal(cudaErrorNotSupported, "attribute " + std::to_string(attribute) +
                                               " is not known here; add it to tests/gpu/runtime/device_properties.cc");
  }
}

}  // namespace trireme::gpu
