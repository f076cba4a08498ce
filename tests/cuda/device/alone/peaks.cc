#include "tests/cuda/device/alone/peaks.h"

#include <cuda_runtime.h>

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

Peaks peaks_of(int device) {
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, device);
  const double clock = 1e3 * attribute(cudaDevAttrClockRate, device);
  const double memory_clock = 1e3 * attribute(cudaDevAttrMemoryClockRate, device);
  Peaks peaks;
  peaks.device =
      std::string(properties.name) + ", sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
  // Both edges of the clock.
  peaks.bytes_per_second = 2 * memory_clock * attribute(cudaDevAttrGlobalMemoryBusWidth, device) / 8;
  peaks.tensor_flop_per_second =
      clock * properties.multiProcessorCount * tensor_flop_per_clock(properties.major, properties.minor);
  return peaks;
}

}  // namespace trireme::alone
