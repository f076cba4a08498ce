#include "cuda/core/arena.h"

#include <algorithm>

namespace trireme {

ArenaTensor::~ArenaTensor() {
  if (arena_ != nullptr) arena_->give_back(offset_);
}

Arena::Arena(std::byte* base, std::size_t capacity) : base_(base), capacity_(capacity) {
  CHECK(base != nullptr);
  free_[0] = capacity;
}

Arena::~Arena() { CHECK(used_.empty(), used_.size(), " tensors outlive their arena"); }

ArenaTensor Arena::allocate(const Shape& shape, DType dtype, const char* category) {
  const std::size_t wanted = static_cast<std::size_t>(shape.elements()) * bytes_of(dtype);
  const std::size_t bytes = std::max(kAlignment, (wanted + kAlignment - 1) / kAlignment * kAlignment);

  // The range at the end is as large as the plan was unlimited, so it is the last resort in either, whatever its size.
  const auto preference = [&](auto range) {
    return range->first + range->second == capacity_ ? kUnlimited : range->second;
  };
  auto best = free_.end();
  for (auto range = free_.begin(); range != free_.end(); ++range)
    if (range->second >= bytes && (best == free_.end() || preference(range) < preference(best))) best = range;
  CHECK(best != free_.end(), "the arena of ", capacity_, " bytes, ", in_use_, " of them in use, has no room for ",
        bytes, " bytes of ", category);

  const auto [offset, size] = *best;
  free_.erase(best);
  if (size > bytes) free_[offset + bytes] = size - bytes;
  used_[offset] = {bytes, category};
  in_use_ += bytes;
  by_category_[category] += bytes;
  peak_ = std::max(peak_, offset + bytes);
  if (in_use_ > most_in_use_) {
    most_in_use_ = in_use_;
    at_peak_ = by_category_;
  }

  ArenaTensor owner;
  owner.arena_ = this;
  owner.offset_ = offset;
  owner.tensor_ = {base_ + offset, dtype, shape};
  return owner;
}

void Arena::give_back(std::size_t offset) {
  const auto block = used_.find(offset);
  CHECK(block != used_.end(), "offset ", offset, " is not in use");
  std::size_t begin = offset;
  std::size_t end = offset + block->second.bytes;
  in_use_ -= block->second.bytes;
  by_category_[block->second.category] -= block->second.bytes;
  used_.erase(block);

  auto next = free_.lower_bound(begin);
  if (next != free_.end() && next->first == end) {
    end += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == begin) {
      begin = previous->first;
      free_.erase(previous);
    }
  }
  free_[begin] = end - begin;
}

}  // namespace trireme
