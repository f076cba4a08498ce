// What the host may touch of pinned memory, and when: memory.h.
#include <algorithm>

#include "tests/gpu/runtime/finding.h"
#include "tests/gpu/runtime/memory.h"

namespace trireme::gpu {
namespace {

using Rights = PinnedPages::Rights;
constexpr std::size_t kPageBytes = PinnedPages::kPageBytes;
thread_local const Clock* before_host_function = nullptr;

std::size_t page_of(const std::byte* start, const std::byte* address) {
  return static_cast<std::size_t>(address - start) / kPageBytes;
}

}  // namespace

// Gives the pages of [begin, end) the rights that the uses leave, but for those that `known` covers.
void Memory::guard(const std::byte* start, Pinned& pinned, const std::byte* begin, const std::byte* end,
                   const Clock* known) {
  if (!pinned.pages) return;
  const std::size_t first = page_of(start, begin);
  std::vector<Rights> rights(page_of(start, end - 1) - first + 1, Rights::kAll);
  for (const Use& use : pinned.uses) {
    if (known != nullptr && at(*known, use.stream) >= use.number) continue;
    const std::size_t from = std::max(page_of(start, use.begin), first);
    const std::size_t to = std::min(page_of(start, use.end - 1), first + rights.size() - 1);
    for (std::size_t page = from; page <= to; ++page)
      rights[page - first] = std::min(rights[page - first], use.written ? Rights::kNone : Rights::kRead);
  }
  pinned.pages->allow(first, rights);
}

void Memory::forget_uses(const Clock& known) {
  const std::lock_guard lock(mutex_);
  for (auto& [start, pinned] : pinned_) {
    std::vector<Use> over;
    std::erase_if(pinned.uses, [&](const Use& use) {
      if (at(known, use.stream) < use.number) return false;
      over.push_back(use);
      return true;
    });
    for (const Use& use : over) guard(start, pinned, use.begin, use.end);
  }
}

std::byte* Memory::own_view(const void* address) const {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_at(address);
  const auto* byte = static_cast<const std::byte*>(address);
  if (found == pinned_.end() || !found->second.pages) return const_cast<std::byte*>(byte);
  return found->second.pages->own() + (byte - found->first);
}

bool Memory::may_try_again(const void* address) {
  const std::lock_guard lock(mutex_);
  const auto found = pinned_at(address);
  if (found == pinned_.end() || !found->second.pages) return false;
  const auto* byte = static_cast<const std::byte*>(address);
  const Pinned& pinned = found->second;
  const std::size_t page = page_of(found->first, byte);
  const Rights rights = pinned.pages->rights(page);
  if (rights == Rights::kAll) return true;      // since another thread's fault
  const bool writes = rights == Rights::kRead;  // of a page with no rights nobody knows yet
  for (const Use& use : pinned.uses) {
    const bool knows = before_host_function != nullptr && at(*before_host_function, use.stream) >= use.number;
    if (byte < use.begin || use.end <= byte || knows || !(use.written || writes)) continue;
    end_with_finding("host code " + std::string(writes ? "writes" : "reads or writes") + " pinned memory at " +
                     hex(address) + ", which " + use.label + (use.written ? " writes" : " reads") +
                     ", and nothing has waited for that; synchronize with the stream or an event first");
  }
  const Rights more[] = {writes ? Rights::kAll : Rights::kRead};
  pinned.pages->allow(page, more);
  return true;
}

void Memory::in_host_function(const Clock* before) {
  const Clock* covered = before != nullptr ? before : before_host_function;
  before_host_function = before;
  const std::lock_guard lock(mutex_);
  for (auto& [start, pinned] : pinned_)
    for (const Use& use : pinned.uses)
      if (at(*covered, use.stream) >= use.number) guard(start, pinned, use.begin, use.end, before);
}

}  // namespace trireme::gpu
