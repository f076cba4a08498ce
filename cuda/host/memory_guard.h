// Reading Tensor::data above the back ends works by accident on a CPU and crashes on a GPU. With a guard it crashes on
// the CPU too: the device's memory is PROT_NONE except while work on one of its streams runs.
//
// Owned by the device. Thread-safe: memory closes when the last of those who opened it is done.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace trireme::host {

class MemoryGuard {
 public:
  // Pages of mmap, open while they are added.
  void add(std::byte* memory, std::size_t bytes);
  void remove(std::byte* memory);
  void open();
  void close();

 private:
  void protect_all(int protection);
  std::mutex mutex_;
  std::map<std::byte*, std::size_t> mappings_;  // address -> bytes
  int open_ = 0;
};

}  // namespace trireme::host
