#include "tests/gpu/runtime/memory.h"

#include <algorithm>
#include <cstring>

#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kPageBytes = PinnedPages::kPageBytes;

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

Memory::Memory(GlobalMemory& global, Streams& streams, std::size_t bytes_of_a_device, std::size_t held_by_others)
    : global_(global),
      streams_(streams),
      bytes_of_a_device_(bytes_of_a_device),
      held_by_others_(std::min(held_by_others, bytes_of_a_device)) {
  streams.when_host_learns([this](const Clock& known) { forget_uses(known); });
}

std::byte* Memory::allocate(int device, std::size_t bytes) {
  const std::size_t left = free_bytes(device);
  if (bytes > left)
    throw Refusal(
        cudaErrorMemoryAllocation,
        bytes_text(bytes) + " were asked for, of " + bytes_text(bytes_of_a_device_) + " are " + std::to_string(left) +
            " free" +
            (held_by_others_ > 0 ? " (another process holds " + bytes_text(held_by_others_) + ")" : std::string()));
  const auto pause = streams_.between_operations();
  std::byte* memory = global_.allocate(bytes);
  if (memory == nullptr)
    throw Refusal(cudaErrorMemoryAllocation, bytes_text(bytes) + " are more than this machine has");
  const std::lock_guard lock(mutex_);
  device_[memory] = {device, bytes};
  used_[device] += bytes;
  return memory;
}

void Memory::release(void* memory) {
  bytes_of(memory);
  const auto pause = streams_.between_operations();
  release_in_operation(memory);
}

void Memory::release_in_operation(void* memory) {
  global_.release(static_cast<std::byte*>(memory));
  const std::lock_guard lock(mutex_);
  const auto found = device_.find(static_cast<std::byte*>(memory));
  if (found == device_.end()) return;
  used_[found->second.device] -= found->second.bytes;
  device_.erase(found);
}

std::size_t Memory::bytes_of(const void* memory) const {
  const std::lock_guard lock(mutex_);
  const auto found = device_.find(static_cast<const std::byte*>(memory));
  if (found == device_.end())
    throw Refusal(cudaErrorInvalidValue, hex(memory) + " is not the start of device memory in use (freed twice?)");
  return found->second.bytes;
}

std::size_t Memory::free_bytes(int device) const {
  const std::lock_guard lock(mutex_);
  const auto used = used_.find(device);
  const std::size_t taken = held_by_others_ + (used == used_.end() ? 0 : used->second);
  return bytes_of_a_device_ - std::min(taken, bytes_of_a_device_);
}

int Memory::device_of(const void* address) const {
  const std::lock_guard lock(mutex_);
  auto after = device_.upper_bound(static_cast<const std::byte*>(address));
  if (after != device_.begin()) {
    --after;
    if (static_cast<const std::byte*>(address) < after->first + std::max<std::size_t>(after->second.bytes, 1))
      return after->second.device;
  }
  throw Refusal(cudaErrorInvalidValue, hex(address) + " is no device memory in use");
}

std::byte* Memory::allocate_host(std::size_t bytes, unsigned flags) {
  auto pages = std::make_unique<PinnedPages>(bytes);
  std::byte* memory = pages->program();
  std::memset(memory, 0xff, pages->pages() * kPageBytes);  // undefined, and not by luck zero
  const std::lock_guard lock(mutex_);
  pinned_[memory] = {bytes, flags, std::move(pages), {}};
  return memory;
}

void Memory::pin(void* memory, std::size_t bytes, unsigned flags) {
  if (bytes == 0 || side(memory) == Side::kDevice)
    throw Refusal(cudaErrorInvalidValue, "only host memory of at least one byte can be registered");
  const std::lock_guard lock(mutex_);
  const auto* begin = static_cast<const std::byte*>(memory);
  for (const auto& [at, pinned] : pinned_)
    if (at < begin + bytes && begin < at + pinned.bytes)
      throw Refusal(cudaErrorHostMemoryAlreadyRegistered, hex(memory) + " is pinned already");
  pinned_[begin] = {bytes, flags, nullptr, {}};
}

void Memory::drop(void* memory, bool ours) {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_.find(static_cast<std::byte*>(memory));
  if (found == pinned_.end() || (found->second.pages != nullptr) != ours)
    throw Refusal(ours ? cudaErrorInvalidValue : cudaErrorHostMemoryNotRegistered,
                  hex(memory) + (ours ? " did not come from cudaHostAlloc (freed twice?)" : " was not registered"));
  for (const Use& use : found->second.uses)
    end_with_finding("pinned memory " + hex(memory) + " was freed while " + use.label +
                     " may still be under way: nothing waited for it; synchronize with the stream or an event first");
  pinned_.erase(found);
}

void Memory::release_host(void* memory) { drop(memory, true); }

void Memory::unpin(void* memory) { drop(memory, false); }

Memory::PinnedAt::const_iterator Memory::pinned_at(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  auto after = pinned_.upper_bound(byte);
  if (after == pinned_.begin()) return pinned_.end();
  --after;
  return byte < after->first + std::max<std::size_t>(after->second.bytes, 1) ? after : pinned_.end();
}

unsigned Memory::host_flags(const void* address) const {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_at(address);
  if (found == pinned_.end()) throw Refusal(cudaErrorInvalidValue, hex(address) + " is not pinned");
  return found->second.flags;
}

Side Memory::side(const void* address) const {
  if (global_.owns(address)) return Side::kDevice;
  const std::lock_guard lock(mutex_);
  return pinned_at(address) == pinned_.end() ? Side::kPageable : Side::kPinned;
}

void Memory::host_bytes_used(const Operation& operation, const void* begin, std::size_t bytes, bool written) {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_at(begin);
  if (found == pinned_.end() || bytes == 0) return;
  const Use use{static_cast<const std::byte*>(begin),
                static_cast<const std::byte*>(begin) + bytes,
                written,
                operation.stream,
                operation.number,
                operation.label};
  if (use.end > found->first + found->second.bytes)
    end_with_finding(operation.label + " reaches " +
                     bytes_text(static_cast<std::size_t>(use.end - found->first) - found->second.bytes) +
                     " past the end of pinned memory " + hex(found->first) + " (" + bytes_text(found->second.bytes) +
                     ")");
  std::vector<Use>& uses = pinned_[found->first].uses;
  for (const Use& other : uses) {
    const bool overlaps = other.begin < use.end && use.begin < other.end;
    if (overlaps && (other.written || written) && at(*operation.before, other.stream) < other.number)
      end_with_finding(operation.label + " and " + other.label + " both use pinned memory at " +
                       hex(std::max(use.begin, other.begin)) + ", and no event or synchronisation orders them");
  }
  uses.push_back(use);
  guard(found->first, pinned_[found->first], use.begin, use.end);
}

std::string Memory::leaked() const {
  const std::lock_guard lock(mutex_);
  std::string report;
  for (const auto& [at, allocation] : device_)
    report.append(report.empty() ? "" : "; ")
        .append(bytes_text(allocation.bytes) + " of device memory at " + hex(at) + " were not freed");
  for (const auto& [at, pinned] : pinned_)
    if (pinned.pages != nullptr)
      report.append(report.empty() ? "" : "; ")
          .append(bytes_text(pinned.bytes) + " of pinned memory at " + hex(at) + " were not freed");
  return report;
}

}  // namespace trireme::gpu
