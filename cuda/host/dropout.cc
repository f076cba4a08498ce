// Which elements fall is a function of (key, sample, offset, column) alone: nothing is kept for the backward pass.
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/dropout.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/core/philox.h"
#include "cuda/host/philox_simd.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

// Multiplies `count` <= 4 lanes() elements by what the words keep.
template <class T>
HWY_INLINE void drop(std::int64_t count, const std::uint32_t* words, std::uint32_t threshold, float scale, const T* x,
                     const T* residual, T* y) {
  const U32 d;
  for (std::int64_t i = 0; i < count; i += lanes()) {
    const std::int64_t part = std::min(lanes(), count - i);
    const bool whole = part == lanes();
    // word >= threshold, unsigned
    const auto kept = hn::RebindMask(F32(), hn::Not(hn::Lt(hn::Load(d, words + i), hn::Set(d, threshold))));
    Vector v = hn::Mul(whole ? load(x + i) : load_part(x + i, part), set(scale));
    v = hn::IfThenElseZero(kept, v);
    if (residual != nullptr) v = hn::Add(v, whole ? load(residual + i) : load_part(residual + i, part));
    if (whole)
      store(v, y + i);
    else
      store_part(v, y + i, part);
  }
}

void dropout_rows(const Tensor& y, const Tensor& x, const Tensor& residual, const Dropout& dropout, const RowIds& rows,
                  std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = x.size(1);
  const std::uint32_t threshold = drop_threshold(dropout.probability);
  const float scale = static_cast<float>(1.0 / (1.0 - static_cast<double>(dropout.probability)));
  HWY_ALIGN std::uint32_t words[4 * HWY_MAX_BYTES / sizeof(std::uint32_t)];
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const auto sample = static_cast<std::uint64_t>(as<std::int64_t>(rows.sample)[r]);
      const auto offset = static_cast<std::uint32_t>(as<std::int32_t>(rows.offset)[r]);
      for (std::int64_t c = 0; c < columns; c += 4 * lanes()) {
        philox_blocks(dropout.key, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32), offset,
                      static_cast<std::uint32_t>(c / 4), words);
        const std::int64_t at = r * columns + c;
        drop(std::min(4 * lanes(), columns - c), words, threshold, scale, as<T>(x) + at,
             residual.given() ? as<T>(residual) + at : nullptr, as<T>(y) + at);
      }
    }
  });
}

void keep_range(const Tensor& y, const Tensor& x, const Tensor& residual, std::int64_t begin, std::int64_t end) {
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if (residual.given())
      map(
          end - begin, [](Vector a, Vector b) HWY_ATTR { return hn::Add(a, b); }, as<T>(y) + begin, as<T>(x) + begin,
          as<T>(residual) + begin);
    else if (y.data != x.data)
      std::memcpy(as<T>(y) + begin, as<T>(x) + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(dropout_rows);
HWY_EXPORT(keep_range);

void dropout(Stream stream, Tensor y, Tensor x, Tensor residual, Dropout dropout, RowIds rows) {
  const char* op = "dropout";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  CHECK(dropout.probability >= 0 && dropout.probability < 1, op, ": probability ", dropout.probability);
  check_operand(op, "y", y, x.dtype, x.shape);
  if (residual.given()) check_operand(op, "residual", residual, x.dtype, x.shape);
  if (dropout.probability > 0) {
    check_operand(op, "rows.sample", rows.sample, DType::kI64, {x.size(0)});
    check_operand(op, "rows.offset", rows.offset, DType::kI32, {x.size(0)});
  }
  enqueue(stream, [=](int threads) {
    const int team = threads_for(threads, x.elements());
    if (dropout.probability > 0)
      parallel_for(team, x.size(0), [&](std::int64_t begin, std::int64_t end) {
        HWY_DYNAMIC_DISPATCH(dropout_rows)(y, x, residual, dropout, rows, begin, end);
      });
    else
      parallel_for(team, x.elements(), [&](std::int64_t begin, std::int64_t end) {
        HWY_DYNAMIC_DISPATCH(keep_range)(y, x, residual, begin, end);
      });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
