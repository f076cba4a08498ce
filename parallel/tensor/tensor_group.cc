#include "parallel/tensor/tensor_group.h"

#include <algorithm>
#include <utility>

namespace trireme {
namespace {

constexpr const char* kCategory = "activations";

Shape with_leading(std::int64_t size, const Shape& rest, int first) {
  Shape shape{size};
  for (int dim = first; dim < rest.dims(); ++dim) shape.append(rest[dim]);
  return shape;
}

}  // namespace

RowRange intersect(RowRange a, RowRange b) {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

RowRange TensorGroup::held(std::int64_t rows) const {
  const std::int64_t begin = rank() * share(rows);
  return {std::min(begin, rows), std::min(begin + share(rows), rows)};
}

GatheredRows TensorGroup::gather(Context& context, Tensor own, std::int64_t rows, CallFor call) const {
  GatheredRows all;
  if (alone()) {
    all.rows_ = own;
    return all;
  }
  CHECK(own.size(0) == share(rows), call.tensor, ": rank ", rank(), " of ", size(), " holds ", own.size(0), " of ",
        rows, " rows, not ", share(rows));
  all.owner_ = context.arena->allocate(with_leading(size() * own.size(0), own.shape, 1), own.dtype, kCategory);
  tp_->all_gather(context.compute, all.owner_, own, call);
  all.rows_ = all.owner_->rows(0, rows);
  return all;
}

PartialRows TensorGroup::partial(Context& context, std::int64_t rows, std::int64_t columns, DType dtype) const {
  PartialRows part;
  const std::int64_t padded = size() * share(rows);
  part.owner_ = context.arena->allocate({padded, columns}, alone() ? dtype : DType::kF32, kCategory);
  part.rows_ = part.owner_->rows(0, rows);
  return part;
}

ArenaTensor TensorGroup::sum(Context& context, PartialRows partial, DType dtype, Tensor bias, Tensor residual,
                             CallFor call) const {
  if (alone()) return std::move(partial.owner_);
  const std::int64_t rows = partial.rows_.size(0);
  const std::int64_t padded = partial.owner_->size(0);
  if (padded > rows) context.ops->fill(context.compute, partial.owner_->rows(rows, padded), 0);
  const Shape shape{share(rows), partial.owner_->size(1)};
  ArenaTensor sum = context.arena->allocate(shape, DType::kF32, kCategory);
  tp_->reduce_scatter(context.compute, sum, partial.owner_, call);
  if (dtype == DType::kF32) {
    if (bias.given() || residual.given()) context.ops->linear_finish(context.compute, sum, sum, bias, residual);
    return sum;
  }
  ArenaTensor rounded = context.arena->allocate(shape, dtype, kCategory);
  context.ops->linear_finish(context.compute, rounded, sum, bias, residual);
  return rounded;
}

ArenaTensor TensorGroup::gather_parts(Context& context, Tensor own, CallFor call) const {
  CHECK(!alone(), call.tensor, ": one rank has all parts");
  ArenaTensor parts = context.arena->allocate(with_leading(size(), own.shape, 0), own.dtype, kCategory);
  tp_->all_gather(context.compute, parts, own, call);
  return parts;
}

}  // namespace trireme
