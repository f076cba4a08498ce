// The three GEMMs of a linear: the library's own order and all threads at once (Order::kFast), or tiles of ours.
#include "cuda/host/elements.h"
#include "cuda/host/gemm.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/linear_rows.h"
#include "cuda/host/linear_tiles.h"
#include "cuda/host/ops.h"
#include "cuda/host/scratch.h"

namespace trireme::host {
namespace {

// Packing w pays where each packed element is used often. Larger weights are packed in chunks of columns.
constexpr std::int64_t kRowsThatPay = 32;
constexpr std::int64_t kPackedElements = std::int64_t{8} << 20;

std::byte* element(const Tensor& tensor, std::int64_t index) {
  return tensor.data + static_cast<std::size_t>(index) * bytes_of(tensor.dtype);
}

// Columns [begin, end) of y = x w + bias + residual, by the library.
void multiply_columns(const Product& product, std::int64_t begin, std::int64_t end, bool packed, int threads) {
  const std::int64_t n = product.y.size(1);
  Gemm gemm;
  gemm.m = product.y.size(0);
  gemm.n = end - begin;
  gemm.k = product.x.size(1);
  gemm.a_row = gemm.k;
  gemm.b_row = product.w_is_transposed ? 1 : n;
  gemm.b_column = product.w_is_transposed ? gemm.k : 1;
  gemm.c_row = n;
  gemm.operands = product.x.dtype;
  gemm.result = product.y.dtype;
  gemm.biased = product.bias.given();
  gemm.packed = packed;
  gemm.threads = threads;
  const bool held = product.residual.data == product.y.data;
  if (product.residual.given()) gemm.joined = held ? Joined::kWhatCHeld : Joined::kResidual;

  const LibraryThreads these(threads);
  const GemmPlan& plan = GemmPlan::of(gemm);
  const void* w = element(product.w, begin * gemm.b_column);
  if (packed) {
    static thread_local Scratch scratch;
    void* to = scratch.get(plan.packed_bytes());
    plan.pack(to, w);
    w = to;
  }
  plan.run(element(product.y, begin), product.x.data, w, gemm.biased ? element(product.bias, begin) : nullptr,
           gemm.joined == Joined::kResidual ? element(product.residual, begin) : nullptr);
}

void multiply(const Product& product, Order order, int threads) {
  if (product.y.elements() == 0) return;
  if (order == Order::kExact || !library_multiplies(product.x.dtype)) return multiply_tiles(product, threads);
  const std::int64_t n = product.y.size(1);
  const bool packed = product.y.size(0) >= kRowsThatPay;
  const std::int64_t chunk = packed ? std::max<std::int64_t>(kPackedElements / product.x.size(1) / 64 * 64, 64) : n;
  for (std::int64_t begin = 0; begin < n; begin += chunk)
    multiply_columns(product, begin, std::min(n, begin + chunk), packed, threads);
}

void add_weight_gradient(const Tensor& dw, const Tensor& dy, const Tensor& x, Order order, int threads) {
  if (order == Order::kExact || !library_multiplies(x.dtype)) return add_weight_gradient_tiles(dw, dy, x, threads);
  Gemm gemm;
  gemm.m = dw.size(0);
  gemm.n = dw.size(1);
  gemm.k = x.size(0);
  gemm.a_row = 1;
  gemm.a_column = gemm.m;
  gemm.b_row = gemm.n;
  gemm.c_row = gemm.n;
  gemm.operands = x.dtype;
  gemm.joined = Joined::kWhatCHeld;
  gemm.threads = threads;
  const LibraryThreads these(threads);
  GemmPlan::of(gemm).run(dw.data, dy.data, x.data, nullptr, nullptr);
}

}  // namespace

void linear_forward(Stream stream, Tensor y, Tensor x, Tensor w, Tensor bias, Tensor residual, Order order) {
  const char* op = "linear_forward";
  check_operand(op, "w", w, x.dtype, {y.size(1), x.size(1)});
  check_operand(op, "x", x, x.dtype, {y.size(0), x.size(1)});
  CHECK(y.dtype == x.dtype || y.dtype == DType::kF32, op, ": y is ", name_of(y.dtype), ", x ", name_of(x.dtype));
  if (bias.given()) check_operand(op, "bias", bias, x.dtype, {y.size(1)});
  if (residual.given()) check_operand(op, "residual", residual, y.dtype, y.shape);
  enqueue(stream, [=](int threads) { multiply({y, x, w, bias, residual, true}, order, threads); });
}

void linear_backward_input(Stream stream, Tensor dx, Tensor dy, Tensor w, Write write, Order order) {
  const char* op = "linear_backward_input";
  check_operand(op, "w", w, dy.dtype, {dy.size(1), dx.size(1)});
  check_operand(op, "dx", dx, dx.dtype, {dy.size(0), dx.size(1)});
  CHECK(dx.dtype == dy.dtype || dx.dtype == DType::kF32, op, ": dx is ", name_of(dx.dtype), ", dy ", name_of(dy.dtype));
  const Tensor held = write == Write::kAdd ? dx : Tensor();
  enqueue(stream, [=](int threads) { multiply({dx, dy, w, {}, held, false}, order, threads); });
}

void linear_backward_weight(Stream stream, Tensor dw, Tensor dbias, Tensor dy, Tensor x, Order order) {
  const char* op = "linear_backward_weight";
  check_operand(op, "dy", dy, dy.dtype, {dy.size(0), dy.size(1)});
  if (dw.given()) {
    check_operand(op, "dw", dw, DType::kF32, {dy.size(1), x.size(1)});
    check_operand(op, "x", x, dy.dtype, {dy.size(0), x.size(1)});
  }
  if (dbias.given()) check_operand(op, "dbias", dbias, DType::kF32, {dy.size(1)});
  enqueue(stream, [=](int threads) {
    if (dy.elements() == 0) return;
    if (dw.given()) add_weight_gradient(dw, dy, x, order, threads);
    if (!dbias.given()) return;
    parallel_for(threads_for(threads, dy.elements()), dy.size(1),
                 [&](std::int64_t begin, std::int64_t end) { add_column_sums(dbias, dy, begin, end); });
  });
}

void linear_finish(Stream stream, Tensor y, Tensor sum, Tensor bias, Tensor residual) {
  const char* op = "linear_finish";
  check_operand(op, "sum", sum, DType::kF32, {y.size(0), y.size(1)});
  check_operand(op, "y", y, y.dtype, sum.shape);
  if (bias.given()) check_operand(op, "bias", bias, y.dtype, {y.size(1)});
  if (residual.given()) check_operand(op, "residual", residual, y.dtype, y.shape);
  enqueue(stream, [=](int threads) {
    const std::int64_t columns = y.size(1);
    parallel_for(threads_for(threads, y.elements()), y.size(0), [&](std::int64_t begin, std::int64_t end) {
      finish(y, {begin, end - begin, 0, columns}, reinterpret_cast<const float*>(element(sum, begin * columns)), bias,
             residual);
    });
  });
}

}  // namespace trireme::host
