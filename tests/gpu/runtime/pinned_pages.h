// Pinned memory that a copy uses is the copy's until the host has waited for it, and a GPU says nothing when the host
// reads or writes it meanwhile. So the program's view of it can be closed, page by page, and an access faults; the
// stand-in itself goes by a view of its own to the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace trireme::gpu {

class PinnedPages {
 public:
  static constexpr std::size_t kPageBytes = 4096;
  enum class Rights : std::uint8_t { kNone, kRead, kAll };

  explicit PinnedPages(std::size_t bytes);  // throws Refusal; open to the program
  ~PinnedPages();
  PinnedPages(const PinnedPages&) = delete;
  PinnedPages& operator=(const PinnedPages&) = delete;

  std::byte* program() const { return program_; }
  std::byte* own() const { return own_; }
  std::size_t pages() const { return rights_.size(); }

  Rights rights(std::size_t page) const { return rights_[page]; }
  // Of pages [first, first + rights.size()).
  void allow(std::size_t first, std::span<const Rights> rights);  // allocates nothing

 private:
  std::byte* program_ = nullptr;
  std::byte* own_ = nullptr;
  std::vector<Rights> rights_;
};

}  // namespace trireme::gpu
