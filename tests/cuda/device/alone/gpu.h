// A time says little without the GPU that took it. Here is what a report tells of it, and what it could do at most by
// its own description: the floor under a kernel's time is the larger of the bytes that it has to move over
// `bytes_per_second` and its products over `tensor_flop_per_second`. Clocks are the highest that the driver names;
// under load a GPU may not hold them, so that a kernel can be closer to what is possible than it looks.
#pragma once

#include <algorithm>
#include <limits>
#include <string>

namespace trireme::alone {

struct Gpu {
  std::string name{};
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  double clock_hz = 0, memory_clock_hz = 0;  // 0: the driver does not say
  int bus_bits = 0;                          // likewise
  double memory_bytes = 0, l2_bytes = 0;
  int driver_cuda = 0, runtime_cuda = 0;  // 13000: CUDA 13.0; of the driver: the newest that it supports

  // At most, if the driver names the clocks and the capability is known here; else 0.
  double bytes_per_second = 0;        // of device memory
  double tensor_flop_per_second = 0;  // dense bf16 and fp16, sums in fp32
};

// Throws std::runtime_error where there is none.
Gpu gpu_of(int device);

// Infinite where the peaks are not known.
inline double floor_seconds(const Gpu& gpu, double bytes, double tensor_flop) {
  const auto over = [](double work, double peak) {
    return work == 0 ? 0 : peak > 0 ? work / peak : std::numeric_limits<double>::infinity();
  };
  return std::max(over(bytes, gpu.bytes_per_second), over(tensor_flop, gpu.tensor_flop_per_second));
}

std::string to_json(const Gpu& gpu);

}  // namespace trireme::alone
