#include "tests/gpu/memory/shared_memory.h"

#include <algorithm>
#include <cstring>
#include <sstream>

namespace trireme::gpu {
namespace {

constexpr std::size_t kBeyond = 64;  // more than the widest access

}  // namespace

SharedMemory::SharedMemory(std::uint32_t bytes, bool races)
    : bytes_(bytes), data_(bytes + kBeyond), states_(bytes + kBeyond, kNowhere) {
  if (races && bytes > 0) history_ = std::make_unique<AccessHistory>(bytes + kBeyond, Reach::kBlock);
  reset();
}

void SharedMemory::reset() {
  std::memset(data_.data(), 0xFF, bytes_);  // NaN in every format
  std::fill_n(states_.begin(), bytes_, std::uint8_t{kAllocated});
}

bool SharedMemory::take_off(const Actor& actor, std::uint64_t offset, std::size_t bytes) {
  if (reach(actor, Access::kWrite, offset, bytes, kWritable) == nullptr) return false;
  std::fill_n(states_.begin() + static_cast<std::ptrdiff_t>(offset), bytes, std::uint8_t{kInFlight});
  return true;
}

std::byte* SharedMemory::land(const Actor& actor, std::uint64_t offset, std::size_t bytes) {
  std::fill_n(states_.begin() + static_cast<std::ptrdiff_t>(offset), bytes, std::uint8_t{kInitialised});
  return reach(actor, Access::kWrite, offset, bytes, kWritable);
}

std::pair<Finding, std::string> SharedMemory::explain(std::uint64_t offset, std::size_t bytes, bool reading) const {
  std::ostringstream out;
  if (conflict_) {
    out << "shared byte " << conflict_->offset << ", which was "
        << (conflict_->with_read          ? "read"
            : conflict_->with.atomic != 0 ? "updated atomically"
                                          : "written")
        << " by thread " << conflict_->with.warp * 32 + conflict_->with.lane << ", and no barrier lies between the two";
    return {Finding::kRaceInBlock, out.str()};
  }
  const std::uint8_t wanted = reading ? kReadable : kWritable;
  std::size_t at = offset;
  while (at < offset + bytes && at < bytes_ && (states_[at] & wanted) == wanted) ++at;
  out << "shared byte " << at << " of " << bytes_;
  if (at >= bytes_) return {Finding::kOutOfBounds, out.str()};
  if (states_[at] == kInFlight) {
    out << ", to which cp.async is still copying: wait for its group first";
    return {Finding::kCopyInFlight, out.str()};
  }
  out << ", which nobody in the block has written";
  return {Finding::kUninitialised, out.str()};
}

}  // namespace trireme::gpu
