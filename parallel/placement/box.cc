#include "parallel/placement/box.h"

#include <algorithm>

namespace trireme {
namespace {

std::int64_t add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  CHECK(!__builtin_add_overflow(a, b, &sum), a, " + ", b, " does not fit in 64 bits");
  return sum;
}

void check_inside(const Shape& shape, const Box& box) {
  CHECK(contains(whole(shape), box), "box ", to_string(box), " leaves its tensor ", to_string(shape));
}

}  // namespace

std::int64_t Box::end(int dim) const { return add(begin[dim], size[dim]); }

std::string to_string(const Box& box) {
  std::string text = "[";
  for (int dim = 0; dim < box.dims(); ++dim)
    text += (dim ? ", " : "") + std::to_string(box.begin[dim]) + ":" + std::to_string(box.end(dim));
  return text + "]";
}

std::optional<std::int64_t> checked_elements(const Shape& shape) {
  std::int64_t product = 1;
  for (int dim = 0; dim < shape.dims(); ++dim)
    if (shape[dim] == 0) return 0;
  for (int dim = 0; dim < shape.dims(); ++dim)
    if (__builtin_mul_overflow(product, shape[dim], &product)) return std::nullopt;
  return product;
}

Box whole(const Shape& shape) {
  CHECK(checked_elements(shape).has_value(), "the elements of ", to_string(shape), " do not fit in 64 bits");
  Box box{{}, shape};
  for (int dim = 0; dim < shape.dims(); ++dim) box.begin.append(0);
  return box;
}

Box intersect(const Box& a, const Box& b) {
  CHECK(a.dims() == b.dims(), to_string(a), " meets ", to_string(b), ", which has other dims");
  Box both;
  for (int dim = 0; dim < a.dims(); ++dim) {
    const std::int64_t begin = std::max(a.begin[dim], b.begin[dim]);
    const std::int64_t end = std::min(a.end(dim), b.end(dim));
    both.begin.append(begin);
    both.size.append(std::max<std::int64_t>(0, end - begin));
  }
  return both;
}

bool contains(const Box& outer, const Box& inner) {
  CHECK(outer.dims() == inner.dims(), to_string(outer), " and ", to_string(inner), " have other dims");
  for (int dim = 0; dim < outer.dims(); ++dim)
    if (inner.begin[dim] < outer.begin[dim] || inner.end(dim) > outer.end(dim)) return false;
  return true;
}

Box part_of(const Shape& shape, int dim, std::int64_t parts, std::int64_t index) {
  return part_of(whole(shape), dim, parts, index);
}

Box part_of(const Box& box, int dim, std::int64_t parts, std::int64_t index) {
  CHECK(parts >= 1 && index >= 0 && index < parts, "part ", index, " of ", parts);
  CHECK(dim >= 0 && dim < box.dims(), "a cut of dim ", dim, " of ", to_string(box));
  const std::int64_t less = box.size[dim] / parts;
  const std::int64_t larger = box.size[dim] % parts;  // so many parts have one more
  Box part;
  for (int each = 0; each < box.dims(); ++each) {
    const bool cut = each == dim;
    part.begin.append(cut ? add(box.begin[each], index * less + std::min(index, larger)) : box.begin[each]);
    part.size.append(cut ? less + (index < larger ? 1 : 0) : box.size[each]);
  }
  return part;
}

void for_each_run(const Shape& shape, const Box& box, const std::function<void(BoxRun)>& visit) {
  CHECK(shape.dims() == box.dims(), "box ", to_string(box), " of a tensor ", to_string(shape));
  check_inside(shape, box);
  if (box.empty()) return;

  // Dims [outer, dims) of the box lie together: the last ones are whole, and the one before them is any range.
  int outer = shape.dims();
  std::int64_t count = 1;
  while (outer > 0) {
    --outer;
    count *= box.size[outer];
    if (box.size[outer] != shape[outer]) break;
  }
  std::int64_t strides[Shape::kMaxDims] = {};
  std::int64_t stride = 1;
  for (int dim = shape.dims() - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    stride *= shape[dim];
  }
  std::int64_t first = 0;
  for (int dim = 0; dim < shape.dims(); ++dim) first += box.begin[dim] * strides[dim];

  std::int64_t at[Shape::kMaxDims] = {};  // within the box, dims [0, outer)
  for (std::int64_t local = 0; local < box.elements(); local += count) {
    std::int64_t global = first;
    for (int dim = 0; dim < outer; ++dim) global += at[dim] * strides[dim];
    visit({global, local, count});
    for (int dim = outer - 1; dim >= 0; --dim) {
      if (++at[dim] < box.size[dim]) break;
      at[dim] = 0;
    }
  }
}

std::vector<Box> boxes_of_run(const Shape& shape, std::int64_t begin, std::int64_t end) {
  CHECK(0 <= begin && begin <= end && end <= shape.elements(), "elements ", begin, " to ", end, " of ",
        to_string(shape));
  std::vector<Box> boxes;
  while (begin < end) {
    // Whole indices of `dim` lie together, `stride` elements each: the outermost dim of which one begins here and ends
    // in time.
    int dim = shape.dims();
    std::int64_t stride = 1;
    while (dim > 0 && begin % (stride * shape[dim - 1]) == 0 && begin + stride * shape[dim - 1] <= end)
      stride *= shape[--dim];
    // As many more of the dim around it as there are.
    std::int64_t count = 1;
    if (dim > 0) {
      const std::int64_t at = begin / stride % shape[dim - 1];
      count = std::min(shape[dim - 1] - at, (end - begin) / stride);
    }
    Box box;
    std::int64_t rest = begin;
    std::int64_t below = shape.elements();
    for (int each = 0; each < shape.dims(); ++each) {
      below /= shape[each];
      box.begin.append(rest / below);
      box.size.append(each + 1 < dim ? 1 : each + 1 == dim ? count : shape[each]);
      rest %= below;
    }
    boxes.push_back(box);
    begin += count * stride;
  }
  return boxes;
}

Box inside(const Box& outer, const Box& inner) {
  CHECK(contains(whole(outer.size), inner), "box ", to_string(inner), " leaves its tensor ", to_string(outer.size));
  Box box;
  for (int dim = 0; dim < outer.dims(); ++dim) box.begin.append(add(outer.begin[dim], inner.begin[dim]));
  box.size = inner.size;
  return box;
}

}  // namespace trireme
