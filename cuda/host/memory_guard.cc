#include "cuda/host/memory_guard.h"

#include <sys/mman.h>

#include "cuda/host/host_stream.h"
#include "monitoring/check.h"

namespace trireme::host {

void MemoryGuard::add(std::byte* memory, std::size_t bytes) {
  std::lock_guard lock(mutex_);
  mappings_[memory] = bytes;
  if (open_ == 0) CHECK(mprotect(memory, bytes, PROT_NONE) == 0);
}

void MemoryGuard::remove(std::byte* memory) {
  std::lock_guard lock(mutex_);
  mappings_.erase(memory);
}

void MemoryGuard::open() {
  std::lock_guard lock(mutex_);
  if (open_++ == 0) protect_all(PROT_READ | PROT_WRITE);
}

void MemoryGuard::close() {
  std::lock_guard lock(mutex_);
  if (--open_ == 0) protect_all(PROT_NONE);
}

void MemoryGuard::protect_all(int protection) {
  for (const auto& [memory, bytes] : mappings_) CHECK(mprotect(memory, bytes, protection) == 0);
}

void OpenMemory::open() { guard_->open(); }
void OpenMemory::close() { guard_->close(); }

}  // namespace trireme::host
