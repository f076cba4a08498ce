// A training run that dies of memory in its third hour planned nothing. Here the step is first run shape-only: the same
// code asks the same arena for the same tensors in the same order, but nothing is computed. The arena's peak in that
// pass is the size of the one block that the real run gets, and the real run, asking in the same order, lands at the
// same offsets.
//
// Placement is best fit over a sorted list of free ranges, the one at the end last: a pure function of the sequence of
// requests, whatever the capacity. Not thread-safe: a rank asks from one thread. A block is freed when its ArenaTensor
// goes; work already put on a stream may still use it, and what is put on that same stream later comes after. Memory
// that two streams use must outlive the event between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "cuda/core/tensor.h"

namespace trireme {

class Arena;

// Owns a block of the arena; moves, does not copy. Gives it back when it goes.
class ArenaTensor {
 public:
  ArenaTensor() = default;
  ArenaTensor(ArenaTensor&& other) noexcept { swap(other); }
  ArenaTensor& operator=(ArenaTensor&& other) noexcept {
    ArenaTensor gone(std::move(other));
    swap(gone);
    return *this;
  }
  ~ArenaTensor();

  const Tensor& operator*() const { return tensor_; }
  const Tensor* operator->() const { return &tensor_; }
  operator const Tensor&() const { return tensor_; }
  bool given() const { return tensor_.given(); }

 private:
  friend class Arena;
  void swap(ArenaTensor& other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(offset_, other.offset_);
    std::swap(tensor_, other.tensor_);
  }
  Arena* arena_ = nullptr;
  std::size_t offset_ = 0;
  Tensor tensor_;
};

class Arena {
 public:
  static constexpr std::size_t kAlignment = 256;  // bytes
  static constexpr std::size_t kUnlimited = std::size_t{1} << 62;

  // `base` is device memory of `capacity` bytes, owned by the caller and outliving the arena. A shape-only arena has
  // any base that nobody follows and kUnlimited bytes.
  Arena(std::byte* base, std::size_t capacity);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Contents undefined. CHECKs that it fits: the plan is wrong otherwise. `category` ("activations", "gradients", ...)
  // is what the ledger of memory sums by; it points to a literal.
  ArenaTensor allocate(const Shape& shape, DType dtype, const char* category);

  std::size_t peak_bytes() const { return peak_; }  // the highest end of a block so far: the capacity that suffices
  std::size_t bytes_in_use() const { return in_use_; }
  // Bytes by category at the moment when most were in use.
  const std::map<std::string, std::size_t>& bytes_at_peak() const { return at_peak_; }

 private:
  friend class ArenaTensor;
  void give_back(std::size_t offset);

  struct Block {
    std::size_t bytes;
    const char* category;
  };
  std::byte* base_;
  std::size_t capacity_;
  std::map<std::size_t, std::size_t> free_;  // offset -> bytes; neighbours are merged
  std::map<std::size_t, Block> used_;        // offset -> block
  std::map<std::string, std::size_t> by_category_;
  std::map<std::string, std::size_t> at_peak_;
  std::size_t in_use_ = 0;
  std::size_t most_in_use_ = 0;
  std::size_t peak_ = 0;
};

}  // namespace trireme
