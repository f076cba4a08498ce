// The one order in which ranks' values are added: a binary tree, pairs of neighbours first, an odd last one passing up
// unchanged, so ((p0 + p1) + (p2 + p3)) + p4. Its bits depend on the number of parts alone, and a tree over 2^k groups
// on 2^j ranks is the same tree as over the groups at once.
//
// Parts are host memory, read inside of stream tasks only; `to` may be one of the parts.
#pragma once

#include <cstddef>
#include <span>

#include "cuda/core/tensor.h"
#include "parallel/comm/communicator.h"

namespace trireme {

// to[i] = the tree over parts of parts[.][i] for `count` elements. f32: kSum and kMax; i64: both; i32: kMax. A maximum
// with a NaN is NaN.
void reduce_tree(std::byte* to, std::span<const std::byte* const> parts, std::size_t count, DType dtype,
                 Reduction reduction);

// Elements [begin, end) that rank `rank` of `size` reduces of a tensor of `count`: as equal as can be, in multiples of
// a cache line.
struct Slice {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t count() const { return end - begin; }
};
Slice slice_of(std::size_t count, int size, int rank);

}  // namespace trireme
