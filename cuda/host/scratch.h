// Fresh memory costs page faults, a quarter of a GEMM's time and more. So each thread keeps what its ops needed last,
// outside of the planned arena; what an op may ask for is bounded (see each op), and so is what is kept.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace trireme::host {

// One buffer, usually thread_local. Not thread-safe.
class Scratch {
 public:
  // Aligned to 64 bytes; contents undefined; valid until the next call.
  template <class T = std::byte>
  T* get(std::size_t count) {
    const std::size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
    if (bytes > capacity_) {
      memory_.reset();
      capacity_ = bytes + bytes / 4;
      capacity_ = (capacity_ + 63) / 64 * 64;
      memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, capacity_)));
      if (!memory_) throw std::bad_alloc();
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t capacity_ = 0;
};

}  // namespace trireme::host
