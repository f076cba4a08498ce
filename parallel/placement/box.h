// Index arithmetic written anew at every use is where resharding bugs live. A Box is a rectangle of a global tensor,
// and these few pure functions are the only arithmetic on it: cut, intersect, and walk.
//
// Sizes that overflow 64 bits are CHECKed: boxes come from our own declarations; what was read from a file is measured
// with `checked_elements` first.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cuda/core/tensor.h"

namespace trireme {

// Indices [begin, begin + size) in every dim.
struct Box {
  Shape begin;
  Shape size;

  int dims() const { return size.dims(); }
  std::int64_t end(int dim) const;  // of a dim, not included
  std::int64_t elements() const { return size.elements(); }
  bool empty() const { return size.elements() == 0; }
  bool operator==(const Box&) const = default;
};
std::string to_string(const Box& box);  // "[0:2, 3:7]"

// Nothing where the product does not fit in 64 bits.
std::optional<std::int64_t> checked_elements(const Shape& shape);

Box whole(const Shape& shape);
Box intersect(const Box& a, const Box& b);          // of size 0 where they do not meet
bool contains(const Box& outer, const Box& inner);  // an empty box is contained where its begin and end are

// Part `index` of `parts` of a tensor cut in `dim`: sizes differ by at most one, the larger first. More parts than
// indices leave the last parts empty.
Box part_of(const Shape& shape, int dim, std::int64_t parts, std::int64_t index);
Box part_of(const Box& box, int dim, std::int64_t parts, std::int64_t index);

// A box as runs of elements that lie together in the global tensor's row-major order, from the first to the last; as
// long as they can be. `global` and `local` are the offsets of the first in the whole tensor and in the box's own
// row-major order.
struct BoxRun {
  std::int64_t global = 0;
  std::int64_t local = 0;
  std::int64_t count = 0;
  bool operator==(const BoxRun&) const = default;
};
void for_each_run(const Shape& shape, const Box& box, const std::function<void(BoxRun)>& visit);

// The other way: elements [begin, end) of a tensor's row-major order as boxes that follow each other, as few as there
// can be: at most 2 dims - 1.
std::vector<Box> boxes_of_run(const Shape& shape, std::int64_t begin, std::int64_t end);
// The box of the global tensor that `inner` of the tensor `outer` is.
Box inside(const Box& outer, const Box& inner);

}  // namespace trireme
