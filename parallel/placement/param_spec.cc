#include "parallel/placement/param_spec.h"

namespace trireme {

Shape ParamSpec::matrix() const {
  CHECK(row_dims >= 0 && row_dims <= shape.dims(), name, " of shape ", to_string(shape), " has ", row_dims,
        " dims of rows");
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  for (int dim = 0; dim < shape.dims(); ++dim) (dim < row_dims ? rows : columns) *= shape[dim];
  return {rows, columns};
}

Box local_box(const ParamSpec& spec, const AxisPlaces& places) {
  Box box = whole(spec.shape);
  for (const Cut& cut : spec.cuts) {
    CHECK(cut.dim >= 0 && cut.dim < spec.shape.dims(), spec.name, " of shape ", to_string(spec.shape),
          " is cut in dim ", cut.dim);
    box = part_of(box, cut.dim, places[cut.axis].parts, places[cut.axis].index);
  }
  return box;
}

}  // namespace trireme
