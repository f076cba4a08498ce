// One launch's way to device memory: every access of a thread is checked byte by byte (bounds, use after free,
// initialisation) and stamped for races. Inlined, because it stands in every load and store of the interpreter.
//
// `load` and `store` return where the bytes are, or null: then `explain` says what is wrong with that access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "tests/gpu/memory/byte_state.h"
#include "tests/gpu/memory/global_memory.h"

namespace trireme::gpu {

class GlobalAccess {
 public:
  GlobalAccess(GlobalMemory& memory, const Operation& operation, std::uint32_t blocks)
      : memory_(memory),
        operation_(operation),
        first_execution_(memory.history_ ? memory.history_->begin(operation, blocks) : 1) {}

  std::uint32_t first_execution() const { return first_execution_; }

  const std::byte* load(const Actor& actor, std::uint64_t address, std::size_t bytes) {
    return reach(actor, Access::kRead, address, bytes, kReadable);
  }
  std::byte* store(const Actor& actor, std::uint64_t address, std::size_t bytes) {
    return mark(reach(actor, Access::kWrite, address, bytes, kWritable), bytes);
  }
  std::byte* update(const Actor& actor, std::uint64_t address, std::size_t bytes) {
    return reach(actor, Access::kAtomic, address, bytes, kReadable);
  }

  std::pair<Finding, std::string> explain(const Actor& actor, std::uint64_t address, std::size_t bytes, bool reading) {
    const auto* at = reinterpret_cast<const void*>(address);
    if (!conflict_) return memory_.complaint(at, bytes, reading);
    const bool launch = conflict_->with.execution - actor.first_execution < actor.executions;
    const auto finding = !launch ? Finding::kRaceBetweenOperations
                         : conflict_->with.execution == actor.execution && conflict_->with.spread != Spread::kLaunch
                             ? Finding::kRaceInBlock
                             : Finding::kRaceBetweenBlocks;
    return {finding, memory_.place(memory_.base_ + conflict_->offset) + ", which was " +
                         memory_.describe(*conflict_, actor) + ", and nothing orders the two"};
  }

 private:
  std::byte* reach(const Actor& actor, Access access, std::uint64_t address, std::size_t bytes, std::uint8_t wanted) {
    const std::size_t offset = address - reinterpret_cast<std::uint64_t>(memory_.base_);
    conflict_.reset();
    if (offset >= kMostOffset) return nullptr;
    if (!all_are(memory_.states() + offset, bytes, wanted) &&
        (wanted != kReadable || !memory_.only_abandoned(operation_, offset, bytes)))
      return nullptr;
    if (memory_.history_ && (conflict_ = memory_.history_->record(actor, access, offset, bytes))) return nullptr;
    return memory_.bytes_.data() + offset;
  }

  std::byte* mark(std::byte* at, std::size_t bytes) {
    if (at != nullptr) std::memset(memory_.states() + (at - memory_.bytes_.data()), kInitialised, bytes);
    return at;
  }

  // Beyond it no access of a few bytes may start; GlobalMemory leaves a gap there.
  static constexpr std::size_t kMostOffset = GlobalMemory::kAddresses - 64;

  GlobalMemory& memory_;
  const Operation& operation_;
  std::uint32_t first_execution_;
  std::optional<Conflict> conflict_{};
};

}  // namespace trireme::gpu
