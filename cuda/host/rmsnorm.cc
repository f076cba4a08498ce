#include "cuda/host/columns.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/rmsnorm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void rmsnorm_forward_rows(const Tensor& y, const Tensor& rstd, const Tensor& x, const Tensor& w, float epsilon,
                          std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = x.size(1);
  const float share = 1.0f / static_cast<float>(columns);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = as<T>(x) + r * columns;
      const float squares = sum(
          columns, [](Vector v) HWY_ATTR { return hn::Mul(v, v); }, row);
      const float scale = 1.0f / std::sqrt(share * squares + epsilon);
      const Vector s = set(scale);
      map(
          columns, [s](Vector v, Vector weight) HWY_ATTR { return hn::Mul(hn::Mul(v, s), weight); },
          as<T>(y) + r * columns, row, as<T>(w));
      as<float>(rstd)[r] = scale;
    }
  });
}

void rmsnorm_backward_input_rows(const Tensor& dx, const Tensor& dy, const Tensor& dresidual, const Tensor& x,
                                 const Tensor& rstd, const Tensor& w, std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = x.size(1);
  const float share = 1.0f / static_cast<float>(columns);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = as<T>(x) + r * columns;
      const T* gradient = as<T>(dy) + r * columns;
      T* out = as<T>(dx) + r * columns;
      const Vector s = set(as<float>(rstd)[r]);
      const auto product = [s](Vector g, Vector v, Vector weight)
                               HWY_ATTR { return hn::Mul(hn::Mul(g, weight), hn::Mul(v, s)); };
      const Vector mean_gx = set(share * sum(columns, product, gradient, row, as<T>(w)));
      const auto input = [s, mean_gx](Vector g, Vector v, Vector weight)
                             HWY_ATTR { return hn::Mul(s, hn::NegMulAdd(hn::Mul(v, s), mean_gx, hn::Mul(g, weight))); };
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

// Columns [begin, end) of all rows, row after row (as layernorm.cc).
void rmsnorm_backward_weight_columns(const Tensor& dw, const Tensor& dy, const Tensor& x, const Tensor& rstd,
                                     std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = x.size(0), columns = x.size(1);
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (std::int64_t r = 0; r < rows; ++r) {
      const Vector s = set(as<float>(rstd)[r]);
      map(
          end - begin, [s](Vector w, Vector g, Vector v) HWY_ATTR { return hn::MulAdd(g, hn::Mul(v, s), w); },
          as<float>(dw) + begin, as<float>(dw) + begin, as<T>(dy) + r * columns + begin,
          as<T>(x) + r * columns + begin);
    }
  });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(rmsnorm_forward_rows);
HWY_EXPORT(rmsnorm_backward_input_rows);
HWY_EXPORT(rmsnorm_backward_weight_columns);

void rmsnorm_forward(Stream stream, Tensor y, Tensor rstd, Tensor x, Tensor w, float epsilon) {
  const char* op = "rmsnorm_forward";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "y", y, x.dtype, x.shape);
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  check_operand(op, "w", w, x.dtype, {x.size(1)});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(rmsnorm_forward_rows)(y, rstd, x, w, epsilon, begin, end);
    });
  });
}

void rmsnorm_backward_input(Stream stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor rstd, Tensor w) {
  const char* op = "rmsnorm_backward_input";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "dx", dx, x.dtype, x.shape);
  check_operand(op, "dy", dy, x.dtype, x.shape);
  if (dresidual.given()) check_operand(op, "dresidual", dresidual, x.dtype, x.shape);
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  check_operand(op, "w", w, x.dtype, {x.size(1)});
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.size(0), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(rmsnorm_backward_input_rows)(dx, dy, dresidual, x, rstd, w, begin, end);
    });
  });
}

void rmsnorm_backward_weight(Stream stream, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
  const char* op = "rmsnorm_backward_weight";
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "dw", dw, DType::kF32, {x.size(1)});
  check_operand(op, "dy", dy, x.dtype, x.shape);
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  enqueue(stream, [=](int threads) {
    parallel_columns(threads_for(threads, x.elements()), x.size(1), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(rmsnorm_backward_weight_columns)(dw, dy, x, rstd, begin, end);
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
