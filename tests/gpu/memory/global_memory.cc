#include "tests/gpu/memory/global_memory.h"

#include <algorithm>
#include <cstring>
#include <sstream>

#include <sys/mman.h>

#include "monitoring/check.h"
#include "tests/gpu/memory/byte_state.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kGap = 512;  // between allocations, so that a step over the end hits nothing

std::string hexadecimal(const void* address) {
  std::ostringstream out;
  out << address;
  return out.str();
}

Actor whole_operation(const Operation& operation, std::uint32_t execution) {
  return {.operation = &operation, .first_execution = execution, .execution = execution};
}

}  // namespace

GlobalMemory::GlobalMemory(std::size_t capacity, Races races)
    : capacity_(capacity), races_(races), bytes_(kAddresses), states_(kAddresses), next_(kAlignment) {
  void* hidden = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(hidden != MAP_FAILED, "cannot reserve ", kAddresses, " bytes of addresses");
  base_ = static_cast<std::byte*>(hidden);
  if (races == Races::kReported) history_ = std::make_unique<AccessHistory>(kAddresses, Reach::kDevice);
}

GlobalMemory::~GlobalMemory() { munmap(base_, kAddresses); }

std::byte* GlobalMemory::allocate(std::size_t bytes, const std::string& label) {
  if (bytes > free_bytes()) return nullptr;
  // An odd multiple of the alignment, so that nobody comes to rely on more.
  std::size_t start = (next_ + kAlignment - 1) / kAlignment * kAlignment;
  if (start / kAlignment % 2 == 0) start += kAlignment;
  if (start + bytes + kGap > kAddresses) {
    throw Fault(Finding::kLimit, "more than 64 GiB were allocated in the life of one process");
  }
  next_ = start + bytes + kGap;
  in_use_ += bytes;
  std::memset(states() + start, kAllocated, bytes);
  allocations_[start] = {.bytes = bytes, .released = false, .label = label};
  return base_ + start;
}

void GlobalMemory::release(std::byte* memory) {
  const auto found = owns(memory) ? allocations_.find(offset(memory)) : allocations_.end();
  if (found == allocations_.end()) {
    throw Fault(Finding::kOutOfBounds, "release of " + place(memory) + ", which is no allocation's start");
  }
  Allocation& allocation = found->second;
  if (allocation.released) throw Fault(Finding::kDoubleFree, "second release of " + place(memory));
  allocation.released = true;
  in_use_ -= allocation.bytes;
  std::memset(states() + found->first, kReleased, allocation.bytes);
  const std::size_t words = (allocation.bytes + 3) / 4 * 4;
  bytes_.discard(found->first, allocation.bytes);
  if (history_) history_->forget(found->first, words);
}

bool GlobalMemory::owns(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= base_ && byte < base_ + kAddresses;
}

std::vector<std::string> GlobalMemory::leaks() const {
  std::vector<std::string> lines;
  for (const auto& [start, allocation] : allocations_) {
    if (!allocation.released) lines.push_back(place(base_ + start));
  }
  return lines;
}

std::string GlobalMemory::place(const void* address) const {
  if (!owns(address)) return "address " + hexadecimal(address) + ", which is no device memory";
  const std::size_t at = offset(address);
  auto after = allocations_.upper_bound(at);
  if (after == allocations_.begin()) return "address " + hexadecimal(address) + ", before every allocation";
  --after;
  const auto& [start, allocation] = *after;
  std::ostringstream out;
  out << "address " << address << ", ";
  if (at < start + allocation.bytes) {
    out << "byte " << at - start << " of ";
  } else {
    out << at - start - allocation.bytes << " bytes beyond the end of ";
  }
  out << (allocation.released ? "a released allocation" : "an allocation") << " of " << allocation.bytes << " bytes";
  if (!allocation.label.empty()) out << " (" << allocation.label << ")";
  return out.str();
}

std::pair<Finding, std::string> GlobalMemory::complaint(const void* address, std::size_t bytes, bool reading) const {
  if (!owns(address)) return {Finding::kOutOfBounds, place(address)};
  const std::uint8_t wanted = reading ? kReadable : kWritable;
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::uint8_t state = states()[offset(address) + i];
    if ((state & wanted) == wanted) continue;
    const auto finding = state == kReleased    ? Finding::kUseAfterFree
                         : state == kAllocated ? Finding::kUninitialised
                                               : Finding::kOutOfBounds;
    std::string where = place(static_cast<const std::byte*>(address) + i);
    if (state != kAbandoned) return {finding, where};
    const auto by = abandoned_by(offset(address) + i);
    return {Finding::kUninitialised, where + ", which " + by->label + " was to write before it was aborted; the host " +
                                         "had waited for that one, and should have asked what became of it"};
  }
  return {Finding::kOutOfBounds, place(address)};
}

const GlobalMemory::Abandoned* GlobalMemory::abandoned_by(std::size_t at) const {
  const auto found = std::find_if(abandoned_.rbegin(), abandoned_.rend(), [&](const Abandoned& one) {
    return one.offset <= at && at < one.offset + one.bytes;
  });
  return found == abandoned_.rend() ? nullptr : &*found;
}

bool GlobalMemory::only_abandoned(const Operation& reader, std::size_t offset, std::size_t bytes) const {
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    if ((states()[i] & kReadable) == kReadable) continue;
    if (states()[i] != kAbandoned || reader.known == nullptr) return false;
    const Abandoned* by = abandoned_by(i);
    const bool host_knew = by->stream < reader.known->size() && (*reader.known)[by->stream] >= by->number;
    if (host_knew) return false;
  }
  return true;
}

std::string GlobalMemory::describe(const Conflict& conflict, const Actor& actor) const {
  std::ostringstream out;
  out << (conflict.with_read ? "read" : conflict.with.atomic ? "updated atomically" : "written") << " by ";
  const auto& origin = history_->origin(static_cast<std::uint32_t>(conflict.with.execution));
  const bool own = origin.first == actor.first_execution;
  if (!own) out << origin.label;
  if (origin.count > 1) out << (own ? "" : ", ") << "block " << conflict.with.execution - origin.first;
  if (own) out << (origin.count > 1 ? ", " : "") << "thread " << conflict.with.warp * 32 + conflict.with.lane;
  return out.str();
}

void GlobalMemory::check(const Operation& operation, const void* address, std::size_t bytes, Access access) {
  const bool reading = access == Access::kRead;
  const char* verb = reading ? " reads " : " writes ";
  if (bytes == 0) return;
  if (!owns(address) || !owns(static_cast<const std::byte*>(address) + bytes - 1) ||
      (!all_are(states() + offset(address), bytes, reading ? kReadable : kWritable) &&
       !(reading && only_abandoned(operation, offset(address), bytes)))) {
    const auto [finding, where] = complaint(address, bytes, reading);
    throw Fault(finding, std::string(name(finding)) + ": " + operation.label + verb + where);
  }
  if (!history_) return;
  if (last_operation_ != std::pair(operation.stream, operation.number) || last_label_ != operation.label) {
    last_operation_ = {operation.stream, operation.number};
    last_label_ = operation.label;
    last_execution_ = history_->begin(operation, 1);
  }
  const Actor actor = whole_operation(operation, last_execution_);
  if (const auto conflict = history_->record(actor, access, offset(address), bytes)) {
    throw Fault(Finding::kRaceBetweenOperations, std::string(name(Finding::kRaceBetweenOperations)) + ": " +
                                                     operation.label + verb + place(base_ + conflict->offset) +
                                                     ", which was " + describe(*conflict, actor) +
                                                     ", and nothing orders the two: record an event and wait for it");
  }
}

const std::byte* GlobalMemory::read(const Operation& operation, const void* address, std::size_t bytes) {
  check(operation, address, bytes, Access::kRead);
  return host_view(address);
}

std::byte* GlobalMemory::write(const Operation& operation, void* address, std::size_t bytes) {
  check(operation, address, bytes, Access::kWrite);
  if (bytes > 0) std::memset(states() + offset(address), kInitialised, bytes);
  return host_view(address);
}

void GlobalMemory::abandon(const Operation& operation, void* address, std::size_t bytes) {
  if (bytes == 0) return;
  check(operation, address, bytes, Access::kWrite);
  std::memset(states() + offset(address), kAbandoned, bytes);
  abandoned_.push_back({offset(address), bytes, operation.stream, operation.number, operation.label});
}

std::byte* GlobalMemory::host_view(const void* address) const {
  CHECK(owns(address), "not device memory: ", address);
  return bytes_.data() + offset(address);
}

}  // namespace trireme::gpu
