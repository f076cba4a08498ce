// cudart's functions about devices. What they do stands in tests/gpu/runtime; here is the C interface.
#include <cstdio>

#include <cuda_profiler_api.h>
#include <cuda_runtime_api.h>

#include "tests/gpu/runtime/gpu.h"

using trireme::gpu::call;
using trireme::gpu::call_without_device;
using trireme::gpu::Gpu;
using trireme::gpu::Refusal;
using trireme::gpu::Report;

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  return call_without_device(__func__, [&](Gpu& gpu) { *version = gpu.settings.driver_version; });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

// On failure `count` stays as it was, as with the real one.
cudaError_t cudaGetDeviceCount(int* count) {
  return call_without_device(__func__, [&](Gpu& gpu) { *count = gpu.devices.count(); });
}

cudaError_t cudaGetDevice(int* device) {
  return call_without_device(__func__, [&](Gpu& gpu) {
    gpu.devices.count();
    *device = Gpu::current_device();
  });
}

cudaError_t cudaSetDevice(int device) {
  return call_without_device(__func__, [&](Gpu& gpu) {
    gpu.devices.take(device);
    Gpu::current_device() = device;
  });
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  return call_without_device(__func__, [&](Gpu& gpu) { gpu.devices.take(device); });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call_without_device(__func__, [&](Gpu& gpu) { *properties = gpu.devices.properties(device); });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call_without_device(__func__, [&](Gpu& gpu) { *value = gpu.devices.attribute(device, attribute); });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  return call_without_device(__func__, [&](Gpu& gpu) {
    std::snprintf(text, static_cast<std::size_t>(bytes), "0000:%02x:00.0", gpu.devices.physical(device) + 1);
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return call_without_device(__func__, [&](Gpu& gpu) {
    gpu.devices.physical(device);
    gpu.devices.physical(peer);
    *can = 0;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call(__func__, [&](Gpu&) {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
  });
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
  return call_without_device(__func__, [&](Gpu&) {
    if ((flags & ~unsigned{cudaDeviceMask}) != 0) throw Refusal(cudaErrorInvalidValue, "unknown device flags");
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call(__func__, [](Gpu& gpu) {
    Report::of_process().host_synchronised("cudaDeviceSynchronize");
    gpu.streams.synchronize_device(Gpu::current_device());
  });
}

// Waits. What the program did not free is still said at the end, which a real reset would hide.
cudaError_t cudaDeviceReset() {
  return call(__func__, [](Gpu& gpu) { gpu.streams.synchronize_device(Gpu::current_device()); });
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return call(__func__, [&](Gpu& gpu) {
    *free_bytes = gpu.memory.free_bytes(Gpu::current_device());
    *total_bytes = gpu.memory.total_bytes();
  });
}

cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

}  // extern "C"
