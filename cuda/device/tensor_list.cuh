// A model has hundreds of parameters, from one bias to most of the model, and an op over all of them should be a few
// launches of even work. So tensors travel by value in the kernel's parameters, as many as 4 KiB hold, and are cut into
// chunks of kChunk elements; a block takes one chunk, and finds in the list which tensor's it is. Internal to
// cuda/device.
#pragma once

#include <array>
#include <cstdint>

#include "cuda/device/launch.cuh"

namespace trireme::cuda {

template <int kPointers, std::int64_t kChunk>
struct TensorList {
  static constexpr int kMost = 4000 / (8 * kPointers + 20);  // tensors

  std::byte* data[kMost][kPointers];
  std::int64_t elements[kMost];
  std::int64_t place[kMost];      // whatever the op wants to know of each
  std::int32_t first[kMost + 1];  // chunk of each tensor; behind the last: of all
  std::int32_t count;

  struct Chunk {
    int tensor;
    std::int64_t begin, end;  // elements
  };
  __device__ Chunk chunk(std::int32_t number) const {
    int low = 0, high = count;  // first[low] <= number < first[high]
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= number)
        low = middle;
      else
        high = middle;
    }
    const std::int64_t begin = (number - first[low]) * kChunk;
    const std::int64_t end = begin + kChunk;
    return {low, begin, end < elements[low] ? end : elements[low]};
  }
};

// Fills lists with tensors that have elements and hands each, when it is full and at the end, to launch(list, blocks).
template <int kPointers, std::int64_t kChunk, class Launcher>
class Batches {
 public:
  explicit Batches(const Launcher& launcher) : launcher_(launcher) { list_.count = 0; }
  ~Batches() = default;

  void add(const std::array<Tensor, kPointers>& tensors, std::int64_t place) {
    const std::int64_t elements = tensors[0].elements();
    if (elements == 0) return;
    if (list_.count == list_.kMost) flush();
    const int at = list_.count++;
    for (int i = 0; i < kPointers; ++i) list_.data[at][i] = tensors[static_cast<std::size_t>(i)].data;
    list_.elements[at] = elements;
    list_.place[at] = place;
    list_.first[at] = chunks_;
    chunks_ += static_cast<std::int32_t>(parts(elements, kChunk));
    list_.first[at + 1] = chunks_;
  }
  void flush() {
    if (list_.count > 0) launcher_(list_, chunks_);
    list_.count = 0;
    chunks_ = 0;
  }

 private:
  const Launcher& launcher_;
  TensorList<kPointers, kChunk> list_;
  std::int32_t chunks_ = 0;
};

}  // namespace trireme::cuda
