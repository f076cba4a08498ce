// Which devices a process sees and what they say of themselves: those of the settings, filtered by CUDA_VISIBLE_DEVICES
// as CUDA documents it, with the limits of their compute capability (CUDA C++ Programming Guide, table of technical
// specifications per compute capability). A process takes a device the first time it uses it, which fails where the
// compute mode is exclusive and another process of the same job has it.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include <driver_types.h>

#include "tests/gpu/runtime/settings.h"

namespace trireme::gpu {

struct DeviceLimits {
  int multiprocessors = 0;
  int threads_per_block = 1024;
  int threads_per_multiprocessor = 2048;
  int blocks_per_multiprocessor = 32;
  int registers_per_multiprocessor = 65536;
  int shared_bytes_per_block = 48 << 10;  // without asking
  int shared_bytes_opt_in = 0;            // with cudaFuncSetAttribute
  int shared_bytes_per_multiprocessor = 0;
  int reserved_shared_bytes_per_block = 1 << 10;
};
DeviceLimits limits_of(int arch);

// What CUDA_VISIBLE_DEVICES makes of `count` devices: indices, or prefixes of UUIDs; the list ends before the first
// entry that names no device; one that names a device twice makes none visible.
std::vector<int> visible_devices(const Settings& settings);

std::string uuid_of(int physical_device);  // "GPU-..." as nvidia-smi prints it

class Devices {
 public:
  explicit Devices(const Settings& settings);

  // Throws Refusal 35 (driver missing or too old) or 100 (no device) as every CUDA call would.
  int count() const;
  int physical(int device) const;  // throws Refusal 101
  void take(int device);           // throws Refusal 46 where the compute mode forbids it
  const DeviceLimits& limits() const { return limits_; }
  int arch() const { return settings_.arch; }
  cudaDeviceProp properties(int device) const;
  int attribute(int device, cudaDeviceAttr attribute) const;  // throws Refusal

 private:
  const Settings& settings_;
  const DeviceLimits limits_;
  const std::vector<int> visible_;
  std::mutex mutex_;
  std::vector<bool> taken_;
};

}  // namespace trireme::gpu
