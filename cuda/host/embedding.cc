#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/embedding.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void embedding_forward_rows(const Tensor& y, const Tensor& ids, const Tensor& table, std::int64_t first, Write write,
                            std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = y.size(1);
  const auto rows_of_types = [&](auto y_type, auto table_type) {
    using Y = typename decltype(y_type)::type;
    using T = typename decltype(table_type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t entry = as<std::int32_t>(ids)[r] - first;
      const bool found = entry >= 0 && entry < table.size(0);
      const T* from = found ? as<T>(table) + entry * columns : nullptr;
      Y* to = as<Y>(y) + r * columns;
      const std::size_t bytes = static_cast<std::size_t>(columns) * sizeof(Y);
      if (write == Write::kAdd && found)
        map(
            columns, [](Vector a, Vector b) HWY_ATTR { return hn::Add(a, b); }, to, to, from);
      else if (write == Write::kOverwrite && !found)
        std::memset(to, 0, bytes);
      else if (write == Write::kOverwrite && std::is_same_v<Y, T>)
        std::memcpy(to, from, bytes);
      else if (write == Write::kOverwrite)
        map(
            columns, [](Vector a) HWY_ATTR { return a; }, to, from);
    }
  };
  with_type(table.dtype, [&](auto type) {
    if (y.dtype == table.dtype)
      rows_of_types(type, type);
    else
      rows_of_types(Type<float>(), type);
  });
}

// Entries that are `share` modulo `shares`, in the order of the rows: one entry's sum belongs to one share, whatever
// their number.
void embedding_backward_share(const Tensor& dtable, const Tensor& ids, const Tensor& dy, std::int64_t first,
                              std::int64_t share, std::int64_t shares) {
  const std::int64_t columns = dy.size(1);
  with_type(dy.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = 0; r < dy.size(0); ++r) {
      const std::int64_t entry = as<std::int32_t>(ids)[r] - first;
      if (entry < 0 || entry >= dtable.size(0) || entry % shares != share) continue;
      float* to = as<float>(dtable) + entry * columns;
      map(
          columns, [](Vector a, Vector b) HWY_ATTR { return hn::Add(a, b); }, to, to, as<T>(dy) + r * columns);
    }
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(embedding_forward_rows);
HWY_EXPORT(embedding_backward_share);

void embedding_forward(Stream stream, Tensor y, Tensor ids, Tensor table, std::int64_t first, Write write) {
  const char* op = "embedding_forward";
  CHECK(table.shape.dims() == 2 && ids.shape.dims() == 1, op, ": table is ", to_string(table.shape),
        ", should be [N, C]; ids are ", to_string(ids.shape), ", should be [R]");
  check_operand(op, "ids", ids, DType::kI32, ids.shape);
  check_operand(op, "y", y, y.dtype, {ids.size(0), table.size(1)});
  CHECK(y.dtype == table.dtype || y.dtype == DType::kF32, op, ": y is ", name_of(y.dtype), ", the table ",
        name_of(table.dtype));
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, y.elements()), y.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(embedding_forward_rows)(y, ids, table, first, write, begin, end);
    });
  });
}

void embedding_backward(Stream stream, Tensor dtable, Tensor ids, Tensor dy, std::int64_t first) {
  const char* op = "embedding_backward";
  CHECK(dy.shape.dims() == 2 && dtable.shape.dims() == 2, op, ": dy is ", to_string(dy.shape),
        ", should be [R, C]; dtable is ", to_string(dtable.shape), ", should be [N, C]");
  check_operand(op, "ids", ids, DType::kI32, {dy.size(0)});
  check_operand(op, "dtable", dtable, DType::kF32, {dtable.size(0), dy.size(1)});
  enqueue(stream, [=](int threads) {
    const std::int64_t shares = threads_for(threads, dy.elements());
    parallel_for(static_cast<int>(shares), shares, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t share = begin; share < end; ++share)
        HWY_DYNAMIC_DISPATCH(embedding_backward_share)(dtable, ids, dy, first, share, shares);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
