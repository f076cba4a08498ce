// Whose memory an address is, and who may still be using it. Device memory is GlobalMemory's (tests/gpu/memory), which
// checks every access; here it is counted against what the device has. Pinned host memory is what asynchronous copies
// read and write while the host goes on. Found, by clocks and not by luck: memory freed under a copy that nobody waited
// for; two copies of the same bytes that nothing orders; and host code that writes what a copy reads, or touches what
// it writes, before the host (or, of a host function, its stream) has waited for it. The last by closing pages to the
// program: a page is opened where a fault was a neighbour's, and closed again with its next use. Memory that was
// registered is not the stand-in's to close. Any other address is pageable host memory: a copy from it has taken the
// bytes when the call returns.
//
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <driver_types.h>

#include "tests/gpu/memory/global_memory.h"
#include "tests/gpu/runtime/pinned_pages.h"
#include "tests/gpu/runtime/streams.h"

namespace trireme::gpu {

enum class Side { kDevice, kPinned, kPageable };

class Memory {
 public:
  Memory(GlobalMemory& global, Streams& streams, std::size_t bytes_of_a_device, std::size_t held_by_others);

  std::byte* allocate(int device, std::size_t bytes);  // throws Refusal
  void release(void* memory);                          // throws Refusal; after what runs now, waits for nothing else
  void release_in_operation(void* memory);             // the same, by work on the GPU's thread
  std::size_t bytes_of(const void* memory) const;      // of the allocation that starts here; throws Refusal
  std::size_t free_bytes(int device) const;
  std::size_t total_bytes() const { return bytes_of_a_device_; }
  int device_of(const void* address) const;  // throws Refusal where it is no device memory

  std::byte* allocate_host(std::size_t bytes, unsigned flags);
  void release_host(void* memory);  // throws Refusal; a finding while a copy may be under way
  void pin(void* memory, std::size_t bytes, unsigned flags);
  void unpin(void* memory);
  unsigned host_flags(const void* address) const;  // throws Refusal

  Side side(const void* address) const;

  // An operation will read or write host bytes when it runs; nothing happens for pageable ones.
  void host_bytes_used(const Operation& operation, const void* begin, std::size_t bytes, bool written);

  // Where the stand-in itself finds host bytes: pages that are closed to the program are open there.
  std::byte* own_view(const void* address) const;
  // Host code faulted at an address: whether it shall try again. A finding where a copy may be using the byte. For a
  // signal's handler: allocates nothing before it has found something.
  bool may_try_again(const void* address);
  // What the host function that this thread runs comes after; null: it is over. What that covers is open meanwhile.
  void in_host_function(const Clock* before);

  std::string leaked() const;  // "" if nothing

  GlobalMemory& global() { return global_; }

 private:
  struct Allocation {
    int device = 0;
    std::size_t bytes = 0;
  };
  struct Use {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    bool written = false;
    std::uint32_t stream = 0;
    std::uint64_t number = 0;
    std::string label;
  };
  struct Pinned {
    std::size_t bytes = 0;
    unsigned flags = 0;
    std::unique_ptr<PinnedPages> pages;  // by cudaHostAlloc; null: by cudaHostRegister
    std::vector<Use> uses;               // that the host has not waited for
  };
  using PinnedAt = std::map<const std::byte*, Pinned>;
  // With mutex_ held:
  PinnedAt::const_iterator pinned_at(const void* address) const;
  void guard(const std::byte* start, Pinned& pinned, const std::byte* begin, const std::byte* end,
             const Clock* known = nullptr);
  void forget_uses(const Clock& known);

  void drop(void* memory, bool ours);

  GlobalMemory& global_;
  Streams& streams_;
  const std::size_t bytes_of_a_device_;
  const std::size_t held_by_others_;
  mutable std::mutex mutex_;
  std::map<const std::byte*, Allocation> device_;
  std::map<int, std::size_t> used_;
  PinnedAt pinned_;
};

}  // namespace trireme::gpu
