// x [R, 2, F] (gate, up): y [R, F] = gate sigmoid(gate) up; with s = sigmoid(gate),
// dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
// Forward 3 R F s bytes, backward 5 R F s; about 25 operations an element, so that memory binds.
#include "cuda/device/elements.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"
#include "cuda/device/sigmoid.cuh"

namespace trireme::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    swiglu_forward_kernel(std::int64_t rows, std::int64_t features, bool aligned, T* y, const T* x) {
  constexpr int kLanes = kLanesOf<T>;
  for_each_pack<kLanes>(rows, features, [&](std::int64_t row, std::int64_t column, std::int64_t left) {
    const T* at = x + 2 * row * features + column;
    const Pack<kLanes> gate = load<kLanes>(at, left, aligned), up = load<kLanes>(at + features, left, aligned);
    Pack<kLanes> result;
#pragma unroll
    for (int i = 0; i < kLanes; ++i) result.lane[i] = gate.lane[i] * sigmoid(gate.lane[i]).at * up.lane[i];
    store(y + row * features + column, result, left, aligned);
  });
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    swiglu_backward_kernel(std::int64_t rows, std::int64_t features, bool aligned, T* dx, const T* dy, const T* x) {
  constexpr int kLanes = kLanesOf<T>;
  for_each_pack<kLanes>(rows, features, [&](std::int64_t row, std::int64_t column, std::int64_t left) {
    const std::int64_t at = 2 * row * features + column;
    const Pack<kLanes> gate = load<kLanes>(x + at, left, aligned);
    const Pack<kLanes> up = load<kLanes>(x + at + features, left, aligned);
    const Pack<kLanes> gradient = load<kLanes>(dy + row * features + column, left, aligned);
    Pack<kLanes> dgate, dup;
#pragma unroll
    for (int i = 0; i < kLanes; ++i) {
      const float g = gate.lane[i];
      const Sigmoid s = sigmoid(g);
      dgate.lane[i] = gradient.lane[i] * up.lane[i] * (s.at * fmaf(g, s.against, 1.0f));
      dup.lane[i] = gradient.lane[i] * (g * s.at);
    }
    store(dx + at, dgate, left, aligned);
    store(dx + at + features, dup, left, aligned);
  });
}

}  // namespace

void swiglu_forward(Stream stream, Tensor y, Tensor x) {
  const Launch launch(stream, "swiglu_forward");
  CHECK(x.shape.dims() == 3 && x.size(1) == 2, "swiglu_forward: x is ", to_string(x.shape), ", should be [R, 2, F]");
  check_operand("swiglu_forward", "y", y, x.dtype, {x.size(0), x.size(2)});
  if (y.elements() == 0) return;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const RowGrid on(launch, y.size(0), y.size(1), kLanesOf<T>);
    swiglu_forward_kernel<<<on.grid, on.block, 0, launch.stream>>>(
        y.size(0), y.size(1), packs_aligned(kLanesOf<T>, y.size(1), {y, x}), as<T>(y), as<const T>(x));
    launch.done();
  });
}

void swiglu_backward(Stream stream, Tensor dx, Tensor dy, Tensor x) {
  const Launch launch(stream, "swiglu_backward");
  CHECK(x.shape.dims() == 3 && x.size(1) == 2, "swiglu_backward: x is ", to_string(x.shape), ", should be [R, 2, F]");
  check_operand("swiglu_backward", "dx", dx, x.dtype, x.shape);
  check_operand("swiglu_backward", "dy", dy, x.dtype, {x.size(0), x.size(2)});
  if (dy.elements() == 0) return;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const RowGrid on(launch, dy.size(0), dy.size(1), kLanesOf<T>);
    swiglu_backward_kernel<<<on.grid, on.block, 0, launch.stream>>>(dy.size(0), dy.size(1),
                                                                    packs_aligned(kLanesOf<T>, dy.size(1), {dx, dy, x}),
                                                                    as<T>(dx), as<const T>(dy), as<const T>(x));
    launch.done();
  });
}

}  // namespace trireme::cuda
