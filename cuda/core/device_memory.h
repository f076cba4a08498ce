// Memory of a device outside of the arena, for what runs before it or without it: it goes back however the scope ends,
// or the device would end with memory that outlives it.
#pragma once

#include <cstddef>

#include "cuda/core/device.h"

namespace trireme {

// The device must outlive it, and what uses the memory must be done.
class DeviceMemory {
 public:
  DeviceMemory(Device& device, std::size_t bytes) : device_(device), begin_(device.allocate(bytes)) {}
  ~DeviceMemory() { device_.release(begin_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  std::byte* begin() const { return begin_; }

 private:
  Device& device_;
  std::byte* const begin_;
};

}  // namespace trireme
