// y = x rstd w, rstd = 1 / sqrt(mean(x^2) + epsilon);
// dx = rstd (g - xhat mean(g xhat)) + dresidual, g = dy w, xhat = x rstd; dw += sum over rows of dy xhat.
// Forward 2 R C s bytes, backward_input 3 or 4, backward_weight 2. A row is read a second time from cache. About 10
// operations an element, so that memory binds.
#include "cuda/device/columns.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"

namespace trireme::cuda {
namespace {

template <int kThreads, class T>
__global__ void __launch_bounds__(kRowThreads)
    rmsnorm_forward_kernel(T* y, float* rstd, const T* x, const T* w, std::int64_t rows, std::int64_t columns,
                           bool aligned, float epsilon) {
  constexpr int kLanes = kLanesOf<T>;
  __shared__ float warps[kRowThreads / 32];
  const std::int64_t row = row_of_thread<kThreads>();
  if (row >= rows) return;
  const T* in = x + row * columns;
  float squares = 0;
  for_each_pack_of_row<kThreads, kLanes>(columns, [&](std::int64_t column, std::int64_t left) {
    const Pack<kLanes> v = load<kLanes>(in + column, left, aligned);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) squares = fmaf(v.lane[i], v.lane[i], squares);
  });
  squares = row_sum<kThreads>(squares, warps);
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(columns) + epsilon);
  for_each_pack_of_row<kThreads, kLanes>(columns, [&](std::int64_t column, std::int64_t left) {
    Pack<kLanes> v = load<kLanes>(in + column, left, aligned);
    const Pack<kLanes> weight = load<kLanes>(w + column, left, aligned);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) v.lane[i] = v.lane[i] * scale * weight.lane[i];
    store(y + row * columns + column, v, left, aligned);
  });
  if (threadIdx.x % kThreads == 0) rstd[row] = scale;
}

template <int kThreads, class T>
__global__ void __launch_bounds__(kRowThreads)
    rmsnorm_backward_input_kernel(T* dx, const T* dy, const T* dresidual, const T* x, const float* rstd, const T* w,
                                  std::int64_t rows, std::int64_t columns, bool aligned) {
  constexpr int kLanes = kLanesOf<T>;
  __shared__ float warps[kRowThreads / 32];
  const std::int64_t row = row_of_thread<kThreads>();
  if (row >= rows) return;
  const std::int64_t start = row * columns;
  const float scale = rstd[row];
  float products = 0;
  for_each_pack_of_row<kThreads, kLanes>(columns, [&](std::int64_t column, std::int64_t left) {
    const Pack<kLanes> g = load<kLanes>(dy + start + column, left, aligned);
    const Pack<kLanes> v = load<kLanes>(x + start + column, left, aligned);
    const Pack<kLanes> weight = load<kLanes>(w + column, left, aligned);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) products = fmaf(g.lane[i] * weight.lane[i], v.lane[i] * scale, products);
  });
  const float mean = row_sum<kThreads>(products, warps) / static_cast<float>(columns);
  for_each_pack_of_row<kThreads, kLanes>(columns, [&](std::int64_t column, std::int64_t left) {
    const Pack<kLanes> g = load<kLanes>(dy + start + column, left, aligned);
    const Pack<kLanes> v = load<kLanes>(x + start + column, left, aligned);
    const Pack<kLanes> weight = load<kLanes>(w + column, left, aligned);
    Pack<kLanes> result{};
    if (dresidual != nullptr) result = load<kLanes>(dresidual + start + column, left, aligned);
#pragma unroll
    for (int i = 0; i < kLanes; ++i)
      result.lane[i] += scale * fmaf(-v.lane[i] * scale, mean, g.lane[i] * weight.lane[i]);
    store(dx + start + column, result, left, aligned);
  });
}

template <class T>
struct WeightTerms {
  const T* dy;
  const T* x;
  const float* rstd;
  std::int64_t columns;
  bool aligned;

  __device__ void add(std::int64_t row, std::int64_t column, std::int64_t left, Pack<kLanesOf<T>> (&sums)[1]) const {
    constexpr int kLanes = kLanesOf<T>;
    const Pack<kLanes> g = load<kLanes>(dy + row * columns + column, left, aligned);
    const Pack<kLanes> v = load<kLanes>(x + row * columns + column, left, aligned);
    const float scale = rstd[row];
#pragma unroll
    for (int i = 0; i < kLanes; ++i) sums[0].lane[i] = fmaf(g.lane[i], v.lane[i] * scale, sums[0].lane[i]);
  }
};

}  // namespace

void rmsnorm_forward(Stream stream, Tensor y, Tensor rstd, Tensor x, Tensor w, float epsilon) {
  const char* op = "rmsnorm_forward";
  const Launch launch(stream, op);
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "y", y, x.dtype, x.shape);
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  check_operand(op, "w", w, x.dtype, {x.size(1)});
  if (x.size(0) == 0) return;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_row_threads(x.size(1), [&](auto threads) {
      rmsnorm_forward_kernel<threads><<<row_blocks<threads>(launch, x.size(0)), kRowThreads, 0, launch.stream>>>(
          as<T>(y), as<float>(rstd), as<const T>(x), as<const T>(w), x.size(0), x.size(1),
          packs_aligned(kLanesOf<T>, x.size(1), {y, x, w}), epsilon);
    });
    launch.done();
  });
}

void rmsnorm_backward_input(Stream stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor rstd, Tensor w) {
  const char* op = "rmsnorm_backward_input";
  const Launch launch(stream, op);
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "dx", dx, x.dtype, x.shape);
  check_operand(op, "dy", dy, x.dtype, x.shape);
  if (dresidual.given()) check_operand(op, "dresidual", dresidual, x.dtype, x.shape);
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  check_operand(op, "w", w, x.dtype, {x.size(1)});
  if (x.size(0) == 0) return;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_row_threads(x.size(1), [&](auto threads) {
      rmsnorm_backward_input_kernel<threads><<<row_blocks<threads>(launch, x.size(0)), kRowThreads, 0, launch.stream>>>(
          as<T>(dx), as<const T>(dy), as<const T>(dresidual), as<const T>(x), as<const float>(rstd), as<const T>(w),
          x.size(0), x.size(1), packs_aligned(kLanesOf<T>, x.size(1), {dx, dy, dresidual, x, w}));
    });
    launch.done();
  });
}

void rmsnorm_backward_weight(Stream stream, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
  const char* op = "rmsnorm_backward_weight";
  const Launch launch(stream, op);
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  check_operand(op, "dw", dw, DType::kF32, {x.size(1)});
  check_operand(op, "dy", dy, x.dtype, x.shape);
  check_operand(op, "rstd", rstd, DType::kF32, {x.size(0)});
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const WeightTerms<T> terms{as<const T>(dy), as<const T>(x), as<const float>(rstd), x.size(1),
                               packs_aligned(kLanesOf<T>, x.size(1), {dy, x})};
    add_column_sums<kLanesOf<T>, 1>(launch, stream, {{as<float>(dw)}}, x.size(0), x.size(1), terms);
  });
}

}  // namespace trireme::cuda
