#include "tests/cuda/device/alone/gpu.h"

#include <limits>

#include <cuda_runtime.h>

#include "tests/cuda/device/alone/json.h"
#include "tests/cuda/device/alone/timing.h"

namespace trireme::alone {
namespace {

// 0 where the driver does not say.
int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  if (cudaDeviceGetAttribute(&value, which, device) == cudaSuccess) return value;
  cudaGetLastError();  // or the next kernel's launch would be blamed for it
  return 0;
}

// Of an SM in a clock, for dense bf16: NVIDIA's architecture white papers.
double tensor_flop_per_clock(int major, int minor) {
  if (major == 8) return minor == 0 ? 2048 : 1024;
  if (major == 9) return 4096;
  if (major == 10) return 8192;
  return 0;
}

}  // namespace

Gpu gpu_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  Gpu gpu;
  gpu.name = properties.name;
  gpu.major = properties.major;
  gpu.minor = properties.minor;
  gpu.multiprocessors = properties.multiProcessorCount;
  gpu.clock_hz = 1e3 * attribute(cudaDevAttrClockRate, device);
  gpu.memory_clock_hz = 1e3 * attribute(cudaDevAttrMemoryClockRate, device);
  gpu.bus_bits = attribute(cudaDevAttrGlobalMemoryBusWidth, device);
  gpu.memory_bytes = static_cast<double>(properties.totalGlobalMem);
  gpu.l2_bytes = properties.l2CacheSize;
  check(cudaDriverGetVersion(&gpu.driver_cuda), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&gpu.runtime_cuda), "cudaRuntimeGetVersion");
  gpu.bytes_per_second = 2 * gpu.memory_clock_hz * gpu.bus_bits / 8;  // on both edges of the clock
  gpu.tensor_flop_per_second = gpu.clock_hz * gpu.multiprocessors * tensor_flop_per_clock(gpu.major, gpu.minor);
  return gpu;
}

std::string to_json(const Gpu& gpu) {
  const auto known = [](double value) { return value > 0 ? value : std::numeric_limits<double>::infinity(); };
  return JsonObject()
      .add("name", gpu.name)
      .add("compute_capability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor))
      .add("multiprocessors", gpu.multiprocessors)
      .add("clock_hz", known(gpu.clock_hz))
      .add("memory_clock_hz", known(gpu.memory_clock_hz))
      .add("memory_bus_bits", known(gpu.bus_bits))
      .add("memory_bytes", gpu.memory_bytes)
      .add("l2_bytes", gpu.l2_bytes)
      .add("driver_supports_cuda", gpu.driver_cuda)
      .add("cuda_runtime", gpu.runtime_cuda)
      .add("bytes_per_second", known(gpu.bytes_per_second))
      .add("tensor_flop_per_second", known(gpu.tensor_flop_per_second))
      .text();
}

}  // namespace trireme::alone
