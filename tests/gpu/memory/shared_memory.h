// A block's shared memory, fresh for every block: nothing in it is initialised, whatever the block before left there.
// As device memory it knows each byte's state and who touched it last; an asynchronous copy's target is in flight,
// neither readable nor writable, until its thread has waited.
//
// `load` and `store` return where the bytes are, or null: then `explain` says what is wrong with that access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/gpu/memory/access_history.h"
#include "tests/gpu/memory/byte_state.h"
#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {

class SharedMemory {
 public:
  SharedMemory(std::uint32_t bytes, bool races);

  void reset();  // a new block has it
  std::uint32_t bytes() const { return bytes_; }

  const std::byte* load(const Actor& actor, std::uint64_t offset, std::size_t bytes) {
    return reach(actor, Access::kRead, offset, bytes, kReadable);
  }
  std::byte* store(const Actor& actor, std::uint64_t offset, std::size_t bytes) {
    std::byte* at = reach(actor, Access::kWrite, offset, bytes, kWritable);
    if (at != nullptr) std::memset(states_.data() + offset, kInitialised, bytes);
    return at;
  }
  std::byte* update(const Actor& actor, std::uint64_t offset, std::size_t bytes) {
    return reach(actor, Access::kAtomic, offset, bytes, kReadable);
  }

  // An asynchronous copy to these bytes begins, and has arrived.
  bool take_off(const Actor& actor, std::uint64_t offset, std::size_t bytes);
  std::byte* land(const Actor& actor, std::uint64_t offset, std::size_t bytes);

  std::pair<Finding, std::string> explain(std::uint64_t offset, std::size_t bytes, bool reading) const;

 private:
  std::byte* reach(const Actor& actor, Access access, std::uint64_t offset, std::size_t bytes, std::uint8_t wanted) {
    conflict_.reset();
    if (offset >= bytes_ || !all_are(states_.data() + offset, bytes, wanted)) return nullptr;
    if (history_ && (conflict_ = history_->record(actor, access, offset, bytes))) return nullptr;
    return data_.data() + offset;
  }

  std::uint32_t bytes_;
  std::vector<std::byte> data_;
  std::vector<std::uint8_t> states_;  // and some that are nowhere, beyond the end
  std::unique_ptr<AccessHistory> history_{};
  std::optional<Conflict> conflict_{};
};

}  // namespace trireme::gpu
