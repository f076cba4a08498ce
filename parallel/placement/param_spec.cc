#include "parallel/placement/param_spec.h"

#include <algorithm>

namespace trireme {

Shape ParamSpec::matrix() const {
  CHECK(row_dims >= 0 && row_dims <= shape.dims(), name, " of shape ", to_string(shape), " has ", row_dims,
        " dims of rows");
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  for (int dim = 0; dim < shape.dims(); ++dim) (dim < row_dims ? rows : columns) *= shape[dim];
  return {rows, columns};
}

namespace {

// The part of the axis' parts that the place holds, and how many parts there are.
AxisPlace part_at(const Cut& cut, const AxisPlace& place) {
  if (cut.most_parts == 0 || place.parts <= cut.most_parts) return place;
  CHECK(place.parts % cut.most_parts == 0, place.parts, " places on ", name_of(cut.axis), " share ", cut.most_parts,
        " parts");
  return {cut.most_parts, place.index / (place.parts / cut.most_parts)};
}

}  // namespace

Box local_box(const ParamSpec& spec, const AxisPlaces& places) {
  Box box = whole(spec.shape);
  for (const Cut& cut : spec.cuts) {
    CHECK(cut.dim >= 0 && cut.dim < spec.shape.dims(), spec.name, " of shape ", to_string(spec.shape),
          " is cut in dim ", cut.dim);
    const AxisPlace part = part_at(cut, places[cut.axis]);
    box = part_of(box, cut.dim, part.parts, part.index);
  }
  return box;
}

AxisPlace replicas(const ParamSpec& spec, Axis axis, const AxisPlaces& places) {
  const AxisPlace& place = places[axis];
  std::int64_t parts = 1;
  for (const Cut& cut : spec.cuts)
    if (cut.axis == axis) parts = std::max(parts, part_at(cut, place).parts);
  return {place.parts / parts, place.index % (place.parts / parts)};
}

bool is_counted(const ParamSpec& spec, const AxisPlaces& places) {
  return spec.tied_to.empty() && replicas(spec, Axis::kTp, places).index == 0;
}

}  // namespace trireme
