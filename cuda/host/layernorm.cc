// A row is read twice or three times, the second time from cache: mean first, then the variance around it, because a
// variance from sum(x^2) cancels.
#include "cuda/host/columns.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/layernorm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void layernorm_forward_rows(const Tensor& y, const Tensor& mean, const Tensor& rstd, const Tensor& x, const Tensor& w,
                            const Tensor& b, float epsilon, std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = x.size(1);
  const float share = 1.0f / static_cast<float>(columns);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = as<T>(x) + r * columns;
      const float middle = share * sum(
                                       columns, [](Vector v) HWY_ATTR { return v; }, row);
      const Vector m = set(middle);
      const auto square = [m](Vector v) HWY_ATTR {
        const Vector centred = hn::Sub(v, m);
        return hn::Mul(centred, centred);
      };
      const float scale = 1.0f / std::sqrt(share * sum(columns, square, row) + epsilon);
      const Vector s = set(scale);
      const auto normalised = [m, s](Vector v, Vector weight, Vector bias)
                                  HWY_ATTR { return hn::MulAdd(hn::Mul(hn::Sub(v, m), s), weight, bias); };
      map(columns, normalised, as<T>(y) + r * columns, row, as<T>(w), as<T>(b));
      as<float>(mean)[r] = middle;
      as<float>(rstd)[r] = scale;
    }
  });
}

void layernorm_backward_input_rows(const Tensor& dx, const Tensor& dy, const Tensor& dresidual, const Tensor& x,
                                   const Tensor& mean, const Tensor& rstd, const Tensor& w, std::int64_t begin,
                                   std::int64_t end) {
  const std::int64_t columns = x.size(1);
  const float share = 1.0f / static_cast<float>(columns);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = as<T>(x) + r * columns;
      const T* gradient = as<T>(dy) + r * columns;
      T* out = as<T>(dx) + r * columns;
      const Vector m = set(as<float>(mean)[r]);
      const Vector s = set(as<float>(rstd)[r]);
      const auto both = [m, s](Vector g, Vector v, Vector weight) HWY_ATTR {
        const Vector weighted = hn::Mul(g, weight);
        return std::array<Vector, 2>{weighted, hn::Mul(weighted, hn::Mul(hn::Sub(v, m), s))};
      };
      const std::array<float, 2> total = sums<2>(columns, both, gradient, row, as<T>(w));
      const Vector mean_g = set(share * total[0]);
      const Vector mean_gx = set(share * total[1]);
      const auto input = [=](Vector g, Vector v, Vector weight) HWY_ATTR {
        const Vector xhat = hn::Mul(hn::Sub(v, m), s);
        return hn::Mul(s, hn::NegMulAdd(xhat, mean_gx, hn::Sub(hn::Mul(g, weight), mean_g)));
      };
      if (dresidual.given())
        map(
            columns,
            [&](Vector g, Vector v, Vector weight, Vector past) HWY_ATTR { return hn::Add(input(g, v, weight), past); },
            out, gradient, row, as<T>(w), as<T>(dresidual) + r * columns);
      else
        map(columns, input, out, gradient, row, as<T>(w));
    }
  });
}

// Columns [begin, end) of all rows, row after row: what dw holds is the first term, so that two calls with half of the
// rows give the bits of one.
void layernorm_backward_weight_columns(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x,
                                       const Tensor& mean, const Tensor& rstd, std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = x.size(0), columns = x.size(1);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* row = as<T>(x) + r * columns + begin;
      const T* gradient = as<T>(dy) + r * columns + begin;
      const Vector m = set(as<float>(mean)[r]);
      const Vector s = set(as<float>(rstd)[r]);
      map(
          end - begin,
          [m, s](Vector w, Vector g, Vector v) HWY_ATTR { return hn::MulAdd(g, hn::Mul(hn::Sub(v, m), s), w); },
          as<float>(dw) + begin, as<float>(dw) + begin, gradient, row);
      map(
          end - begin, [](Vector b, Vector g) HWY_ATTR { return hn::Add(b, g); }, as<float>(db) + begin,
          as<float>(db) + begin, gradient);
    }
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(layernorm_forward_rows);
HWY_EXPORT(layernorm_backward_input_rows);
HWY_EXPORT(layernorm_backward_weight_columns);

void layernorm_forward(Stream stream, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor w, Tensor b, float epsilon) {
  const char* op = "layernorm_forward";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "y", y, x.dtype, x.shape);
  check_operand(op, "mean", mean, DType::kF32, {x.size(0)});
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  check_operand(op, "w", w, x.dtype, {x.size(1)});
  check_operand(op, "b", b, x.dtype, {x.size(1)});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(layernorm_forward_rows)(y, mean, rstd, x, w, b, epsilon, begin, end);
    });
  });
}

void layernorm_backward_input(Stream stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor mean, Tensor rstd,
                              Tensor w) {
  const char* op = "layernorm_backward_input";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "dx", dx, x.dtype, x.shape);
  check_operand(op, "dy", dy, x.dtype, x.shape);
  if (dresidual.given()) check_operand(op, "dresidual", dresidual, x.dtype, x.shape);
  check_operand(op, "mean", mean, DType::kF32, {x.size(0)});
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  check_operand(op, "w", w, x.dtype, {x.size(1)});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(layernorm_backward_input_rows)(dx, dy, dresidual, x, mean, rstd, w, begin, end);
    });
  });
}

void layernorm_backward_weight(Stream stream, Tensor dw, Tensor db, Tensor dy, Tensor x, Tensor mean, Tensor rstd) {
  const char* op = "layernorm_backward_weight";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "dw", dw, DType::kF32, {x.size(1)});
  check_operand(op, "db", db, DType::kF32, {x.size(1)});
  check_operand(op, "dy", dy, x.dtype, x.shape);
  check_operand(op, "mean", mean, DType::kF32, {x.size(0)});
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  enqueue(stream, [=](int threads) {
    parallel_columns(threads_for(threads, x.elements()), x.size(1), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(layernorm_backward_weight_columns)(dw, db, dy, x, mean, rstd, begin, end);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
