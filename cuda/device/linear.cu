// The three products of a linear by cuBLASLt (cuda/device/gemm.cuh), 2 R O I FLOP each, with bias, residual and
// accumulation in the product's own epilogue where the library takes them; what is left is ours:
//   y = sum + bias + residual, R O (4 + 2 s) bytes;  dbias += column sums of dy, R O s bytes.
// In column-major terms a row-major [R, C] is [C, R], so that y = x w^T reads y' = w x' with w lying transposed.
#include "cuda/device/columns.cuh"
#include "cuda/device/gemm.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"

namespace trireme::cuda {
namespace {

template <int kLanes, class Y, class B>
__global__ void __launch_bounds__(kRowThreads) finish_kernel(Y* y, const float* sum, const B* bias, const Y* residual,
                                                             std::int64_t rows, std::int64_t columns, bool aligned) {
  for_each_pack<kLanes>(rows, columns, [&](std::int64_t row, std::int64_t column, std::int64_t left) {
    const std::int64_t at = row * columns + column;
    Pack<kLanes> result = load<kLanes>(sum + at, left, aligned), more{};
    if (bias != nullptr) more = load<kLanes>(bias + column, left, aligned);
#pragma unroll
    for (int i = 0; i < kLanes; ++i) result.lane[i] += more.lane[i];
    if (residual != nullptr) {
      more = load<kLanes>(residual + at, left, aligned);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) result.lane[i] += more.lane[i];
    }
    store(y + at, result, left, aligned);
  });
}

// y = sum + bias + residual; the bias is of y's dtype, or y is f32.
void finish(const Launch& launch, const Tensor& y, const Tensor& sum, const Tensor& bias, const Tensor& residual) {
  if (y.elements() == 0) return;
  const auto launch_types = [&](auto y_type, auto bias_type) {
    using Y = typename decltype(y_type)::type;
    using B = typename decltype(bias_type)::type;
    const RowGrid on(launch, y.size(0), y.size(1), 4);
    finish_kernel<4><<<on.grid, on.block, 0, launch.stream>>>(as<Y>(y), as<const float>(sum), as<const B>(bias),
                                                              as<const Y>(residual), y.size(0), y.size(1),
                                                              packs_aligned(4, y.size(1), {y, sum, bias, residual}));
    launch.done();
  };
  if (y.dtype == DType::kF32)
    with_type(bias.given() ? bias.dtype : y.dtype, [&](auto type) { launch_types(Type<float>(), type); });
  else
    with_type(y.dtype, [&](auto type) { launch_types(type, type); });
}

// cuBLASLt reads a bias 16 bytes at a time. One that lies elsewhere is copied, behind the workspace in the scratch.
const void* aligned_bias(const Launch& launch, Stream stream, const Tensor& bias) {
  if (reinterpret_cast<std::uintptr_t>(bias.data) % 16 == 0) return bias.data;
  std::byte* copy = scratch(stream, Gemms::kWorkspaceBytes + bias.bytes()) + Gemms::kWorkspaceBytes;
  check(cudaMemcpyAsync(copy, bias.data, bias.bytes(), cudaMemcpyDeviceToDevice, launch.stream), "cudaMemcpyAsync");
  return copy;
}

template <class T>
struct BiasTerms {
  const T* dy;
  std::int64_t columns;
  bool aligned;

  __device__ void add(std::int64_t row, std::int64_t column, std::int64_t left, Pack<kLanesOf<T>> (&sums)[1]) const {
    const Pack<kLanesOf<T>> g = load<kLanesOf<T>>(dy + row * columns + column, left, aligned);
#pragma unroll
    for (int i = 0; i < kLanesOf<T>; ++i) sums[0].lane[i] += g.lane[i];
  }
};

}  // namespace

void linear_forward(Stream stream, Tensor y, Tensor x, Tensor w, Tensor bias, Tensor residual, Order order) {
  const char* op = "linear_forward";
  const Launch launch(stream, op);
  check_operand(op, "w", w, x.dtype, {y.size(1), x.size(1)});
  check_operand(op, "x", x, x.dtype, {y.size(0), x.size(1)});
  CHECK(y.dtype == x.dtype || y.dtype == DType::kF32, op, ": y is ", name_of(y.dtype), ", x ", name_of(x.dtype));
  if (bias.given()) check_operand(op, "bias", bias, x.dtype, {y.size(1)});
  if (residual.given()) check_operand(op, "residual", residual, y.dtype, y.shape);
  if (y.elements() == 0) return;
  Gemm gemm;
  gemm.m = y.size(1), gemm.n = y.size(0), gemm.k = x.size(1);
  gemm.transpose_a = true;
  gemm.operands = x.dtype, gemm.result = y.dtype;
  gemm.joined = residual.given();
  gemm.order = order;
  // The library adds a bias of y's dtype. Any other joins y in fp32 behind the product.
  gemm.biased = bias.given() && bias.dtype == y.dtype;
  const void* added = gemm.biased ? aligned_bias(launch, stream, bias) : nullptr;
  gemms(stream).run(stream, gemm, {y.data, w.data, x.data, residual.data, added});
  if (bias.given() && !gemm.biased) finish(launch, y, y, bias, {});
}

void linear_backward_input(Stream stream, Tensor dx, Tensor dy, Tensor w, Write write, Order order) {
  const char* op = "linear_backward_input";
  const Launch launch(stream, op);
  check_operand(op, "w", w, dy.dtype, {dy.size(1), dx.size(1)});
  check_operand(op, "dx", dx, dx.dtype, {dy.size(0), dx.size(1)});
  CHECK(dx.dtype == dy.dtype || dx.dtype == DType::kF32, op, ": dx is ", name_of(dx.dtype), ", dy ", name_of(dy.dtype));
  if (dx.elements() == 0) return;
  Gemm gemm;
  gemm.m = dx.size(1), gemm.n = dy.size(0), gemm.k = dy.size(1);
  gemm.operands = dy.dtype, gemm.result = dx.dtype;
  gemm.joined = write == Write::kAdd;
  gemm.order = order;
  gemms(stream).run(stream, gemm, {dx.data, w.data, dy.data, dx.data, nullptr});
}

void linear_backward_weight(Stream stream, Tensor dw, Tensor dbias, Tensor dy, Tensor x, Order order) {
  const char* op = "linear_backward_weight";
  const Launch launch(stream, op);
  check_operand(op, "dy", dy, dy.dtype, {dy.size(0), dy.size(1)});
  if (dw.given()) {
    check_operand(op, "dw", dw, DType::kF32, {dy.size(1), x.size(1)});
    check_operand(op, "x", x, dy.dtype, {dy.size(0), x.size(1)});
  }
  if (dbias.given()) check_operand(op, "dbias", dbias, DType::kF32, {dy.size(1)});
  if (dy.elements() == 0) return;
  if (dw.given() && dw.elements() > 0) {
    Gemm gemm;
    gemm.m = dw.size(1), gemm.n = dw.size(0), gemm.k = dy.size(0);
    gemm.transpose_b = true;
    gemm.rows = Gemm::Rows::kK;
    gemm.operands = dy.dtype, gemm.result = DType::kF32;
    gemm.joined = true;
    gemm.order = order;
    gemms(stream).run(stream, gemm, {dw.data, x.data, dy.data, dw.data, nullptr});
  }
  if (!dbias.given()) return;
  with_type(dy.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const BiasTerms<T> terms{as<const T>(dy), dy.size(1), packs_aligned(kLanesOf<T>, dy.size(1), {dy})};
    add_column_sums<kLanesOf<T>, 1>(launch, stream, {{as<float>(dbias)}}, dy.size(0), dy.size(1), terms);
  });
}

void linear_finish(Stream stream, Tensor y, Tensor sum, Tensor bias, Tensor residual) {
  const char* op = "linear_finish";
  const Launch launch(stream, op);
  check_operand(op, "sum", sum, DType::kF32, {y.size(0), y.size(1)});
  check_operand(op, "y", y, y.dtype, sum.shape);
  if (bias.given()) check_operand(op, "bias", bias, y.dtype, {y.size(1)});
  if (residual.given()) check_operand(op, "residual", residual, y.dtype, y.shape);
  finish(launch, y, sum, bias, residual);
}

}  // namespace trireme::cuda
