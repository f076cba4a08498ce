// Device memory that knows, for every byte, whether it is allocated, whether somebody has written it, and who touched
// it last, so that a wrong access is reported where it happens instead of as a wrong number later.
//
// The addresses that the program sees (`allocate`) have no access rights, so that host code that follows a device
// pointer faults at once (`owns` tells a signal handler that it was ours); what lies there, the stand-in keeps
// elsewhere (`read` and `write` return where). Addresses are aligned to 256 bytes, which is what CUDA promises, and on
// purpose to no more. Freed addresses are not handed out again.
//
// Accesses by whole operations (copies, memset, collectives, GEMMs) go through `read` and `write`; those of a kernel's
// threads through the interpreter. Two accesses to one byte, one of them a write, by operations of which neither
// happened before the other, are a Fault, whatever order they ran in (`Races::kReported`).
//
// One caller at a time. `Operation`s must arrive in an order that agrees with their clocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/gpu/memory/access_history.h"
#include "tests/gpu/memory/fault.h"
#include "tests/gpu/memory/operation.h"

namespace trireme::gpu {

enum class Races { kIgnored, kReported };

struct Allocation {
  std::size_t bytes = 0;
  bool released = false;
  std::string label{};
};

class GlobalMemory {
 public:
  static constexpr std::size_t kAddresses = std::size_t{1} << 36;  // 64 GiB: what a process may allocate in its life

  // `capacity`: bytes that can be allocated at a time; beyond it `allocate` answers nullptr, as cudaMalloc reports.
  explicit GlobalMemory(std::size_t capacity, Races races = Races::kReported);
  ~GlobalMemory();
  GlobalMemory(const GlobalMemory&) = delete;
  GlobalMemory& operator=(const GlobalMemory&) = delete;

  // Contents count as uninitialised. `label` appears in findings.
  std::byte* allocate(std::size_t bytes, const std::string& label = {});

  // Faults when `memory` is not the start of a live allocation. The caller has waited for all operations that use it.
  void release(std::byte* memory);

  bool owns(const void* address) const;  // within device memory's addresses, allocated or not; async-signal-safe
  std::size_t free_bytes() const { return capacity_ - in_use_; }
  std::size_t capacity() const { return capacity_; }
  Races races() const { return races_; }

  // What was allocated and never released, a line each, for the report of leaks.
  std::vector<std::string> leaks() const;

  // "256 bytes into allocation 3 (1024 bytes, `label`)", "40 bytes beyond ...": where an address lies, for messages.
  std::string place(const void* address) const;

  // Checks that `bytes` at `address` lie in one live allocation, (read) that all are initialised, and that no
  // concurrent operation conflicts; marks them as read or written by `operation`. Returns where the host finds them.
  const std::byte* read(const Operation& operation, const void* address, std::size_t bytes);
  std::byte* write(const Operation& operation, void* address, std::size_t bytes);

  // `operation` was to write these bytes, and was given up on the way (a collective whose communicator was aborted): it
  // may or may not have touched them. Who wrote them is told, like a write's; what they hold, nobody may ask any more,
  // except for operations that the host put on a stream before it had waited for the abandoned one: it could not know,
  // and cannot take them back. They read what lies there. To later ones the bytes are uninitialised.
  void abandon(const Operation& operation, void* address, std::size_t bytes);

  // Where the host finds the bytes at `address`, unchecked: for sizes, printing and tests.
  std::byte* host_view(const void* address) const;

 private:
  friend class GlobalAccess;  // the interpreter's way in: one launch's accesses
  struct Abandoned {
    std::size_t offset = 0, bytes = 0;
    std::uint32_t stream = 0;
    std::uint64_t number = 0;
    std::string label{};
  };

  std::size_t offset(const void* address) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base_);
  }
  std::uint8_t* states() const { return reinterpret_cast<std::uint8_t*>(states_.data()); }
  void check(const Operation& operation, const void* address, std::size_t bytes, Access access);
  std::pair<Finding, std::string> complaint(const void* address, std::size_t bytes, bool reading) const;
  const Abandoned* abandoned_by(std::size_t offset) const;  // the last that was; null: none
  // Of bytes that are not all initialised: whether they are but for abandoned ones that `reader` may read.
  bool only_abandoned(const Operation& reader, std::size_t offset, std::size_t bytes) const;
  std::string describe(const Conflict& conflict, const Actor& actor) const;

  std::size_t capacity_;
  std::size_t in_use_ = 0;
  Races races_;
  std::byte* base_ = nullptr;                        // what the program sees: no access
  LazyPages bytes_;                                  // what lies there
  LazyPages states_;                                 // a ByteState each
  std::size_t next_;                                 // offset of the next allocation
  std::map<std::size_t, Allocation> allocations_{};  // by offset; released ones stay
  std::vector<Abandoned> abandoned_{};               // oldest first
  std::unique_ptr<AccessHistory> history_{};         // null when races are ignored
  std::pair<std::uint32_t, std::uint64_t> last_operation_{};
  std::string last_label_{};
  std::uint32_t last_execution_ = 0;
};

}  // namespace trireme::gpu
