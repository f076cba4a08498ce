#include "cuda/host/linear_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/linear_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void widen_target(float* to, const Tensor& from, const Rectangle& at) {
  with_type(from.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t row = 0; row < at.rows; ++row) {
      const T* source = as<T>(from) + (at.row + row) * from.size(1) + at.column;
      map(
          at.columns, [](Vector v) HWY_ATTR { return v; }, to + row * at.columns, source);
    }
  });
}

template <class Y, class B>
void finish_typed(const Tensor& y, const Rectangle& at, const float* tile, const Tensor& bias, const Tensor& residual) {
  const B* b = bias.given() ? as<B>(bias) + at.column : nullptr;
  for (std::int64_t row = 0; row < at.rows; ++row) {
    const std::int64_t start = (at.row + row) * y.size(1) + at.column;
    Y* out = as<Y>(y) + start;
    const Y* r = residual.given() ? as<Y>(residual) + start : nullptr;
    const float* sums = tile + row * at.columns;
    const auto one = [](Vector s) HWY_ATTR { return s; };
    const auto two = [](Vector s, Vector t) HWY_ATTR { return hn::Add(s, t); };
    const auto three = [](Vector s, Vector t, Vector u) HWY_ATTR { return hn::Add(hn::Add(s, t), u); };
    if (b != nullptr && r != nullptr)
      map(at.columns, three, out, sums, b, r);
    else if (b != nullptr)
      map(at.columns, two, out, sums, b);
    else if (r != nullptr)
      map(at.columns, two, out, sums, r);
    else
      map(at.columns, one, out, sums);
  }
}

void finish_target(const Tensor& y, const Rectangle& at, const float* tile, const Tensor& bias,
                   const Tensor& residual) {
  with_type(y.dtype, [&](auto y_type) {
    with_type(bias.given() ? bias.dtype : DType::kF32, [&](auto bias_type) {
      finish_typed<typename decltype(y_type)::type, typename decltype(bias_type)::type>(y, at, tile, bias, residual);
    });
  });
}

// Four rows at a time, one after another: the sums are read and written a quarter as often.
void add_column_sums_target(const Tensor& sums, const Tensor& x, std::int64_t begin, std::int64_t end) {
  const auto plus = [](Vector s, Vector a) HWY_ATTR { return hn::Add(s, a); };
  const auto plus_four = [](Vector s, Vector a, Vector b, Vector c, Vector d)
                             HWY_ATTR { return hn::Add(hn::Add(hn::Add(hn::Add(s, a), b), c), d); };
  float* to = as<float>(sums) + begin;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const std::int64_t columns = x.size(1);
    const T* from = as<T>(x) + begin;
    std::int64_t row = 0;
    for (; row + 4 <= x.size(0); row += 4) {
      const T* rows = from + row * columns;
      map(end - begin, plus_four, to, to, rows, rows + columns, rows + 2 * columns, rows + 3 * columns);
    }
    for (; row < x.size(0); ++row) map(end - begin, plus, to, to, from + row * columns);
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(widen_target);
HWY_EXPORT(finish_target);
HWY_EXPORT(add_column_sums_target);

void widen(float* to, const Tensor& from, const Rectangle& rectangle) {
  HWY_DYNAMIC_DISPATCH(widen_target)(to, from, rectangle);
}
void finish(const Tensor& y, const Rectangle& rectangle, const float* tile, const Tensor& bias,
            const Tensor& residual) {
  HWY_DYNAMIC_DISPATCH(finish_target)(y, rectangle, tile, bias, residual);
}
void add_column_sums(const Tensor& sums, const Tensor& x, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(add_column_sums_target)(sums, x, begin, end);
}

}  // namespace trireme::host
#endif  // HWY_ONCE
