#include "tests/gpu/runtime/pinned_pages.h"

#include <algorithm>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {
namespace {

int protection(PinnedPages::Rights rights) {
  if (rights == PinnedPages::Rights::kNone) return PROT_NONE;
  return rights == PinnedPages::Rights::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
}

}  // namespace

PinnedPages::PinnedPages(std::size_t bytes)
    : rights_((std::max<std::size_t>(bytes, 1) + kPageBytes - 1) / kPageBytes, Rights::kAll) {
  const std::size_t length = rights_.size() * kPageBytes;
  const int file = ::memfd_create("pinned", MFD_CLOEXEC);
  const auto map = [&] {
    void* view = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return view == MAP_FAILED ? nullptr : static_cast<std::byte*>(view);
  };
  if (file >= 0 && ::ftruncate(file, static_cast<off_t>(length)) == 0) {
    program_ = map();
    own_ = map();
  }
  if (file >= 0) ::close(file);
  if (program_ != nullptr && own_ != nullptr) return;
  for (std::byte* view : {program_, own_})
    if (view != nullptr) ::munmap(view, length);
  throw Refusal(cudaErrorMemoryAllocation, std::to_string(bytes) + " bytes of host memory were asked for");
}

PinnedPages::~PinnedPages() {
  ::munmap(program_, rights_.size() * kPageBytes);
  ::munmap(own_, rights_.size() * kPageBytes);
}

void PinnedPages::allow(std::size_t first, std::span<const Rights> rights) {
  for (std::size_t begin = 0; begin < rights.size();) {
    std::size_t end = begin + 1;
    while (end < rights.size() && rights[end] == rights[begin]) ++end;
    const auto changes = [&](std::size_t page) { return rights_[first + page] != rights[begin]; };
    bool any = false;
    for (std::size_t page = begin; page < end; ++page) any = any || changes(page);
    if (any) {
      const int result =
          ::mprotect(program_ + (first + begin) * kPageBytes, (end - begin) * kPageBytes, protection(rights[begin]));
      CHECK(result == 0, "mprotect of pinned memory");
      std::fill(rights_.begin() + static_cast<std::ptrdiff_t>(first + begin),
                rights_.begin() + static_cast<std::ptrdiff_t>(first + end), rights[begin]);
    }
    begin = end;
  }
}

}  // namespace trireme::gpu
