// y = x kept / (1 - p) + residual; an element is kept if its lane of Philox (cuda/core/philox.h) reaches p 2^32: the
// same elements as on the host. Which fall is a function of (key, sample, offset, column) alone; nothing is kept for
// the backward pass. 2 or 3 R C s bytes; Philox' 10 rounds are 40 multiplications for 4 elements, so that memory binds.
#include "cuda/core/philox.h"
#include "cuda/device/map.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"

namespace trireme::cuda {
namespace {

struct Keep {
  std::uint64_t key;
  std::uint32_t threshold;
  float scale;
};

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    dropout_kernel(std::int64_t rows, std::int64_t columns, bool aligned, Keep keep, T* y, const T* x,
                   const T* residual, const std::int64_t* samples, const std::int32_t* offsets) {
  constexpr int kLanes = kLanesOf<T>;
  for_each_pack<kLanes>(rows, columns, [&](std::int64_t row, std::int64_t column, std::int64_t left) {
    const auto sample = static_cast<std::uint64_t>(samples[row]);
    const auto offset = static_cast<std::uint32_t>(offsets[row]);
    const std::int64_t at = row * columns + column;
    Pack<kLanes> value = load<kLanes>(x + at, left, aligned);
    Pack<kLanes> past{};
    if (residual != nullptr) past = load<kLanes>(residual + at, left, aligned);
#pragma unroll
    for (int four = 0; four < kLanes; four += 4) {
      const PhiloxBlock words =
          philox(keep.key, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32), offset,
                 static_cast<std::uint32_t>((column + four) / 4));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float kept = words.lane[i] >= keep.threshold ? value.lane[four + i] * keep.scale : 0.0f;
        value.lane[four + i] = kept + past.lane[four + i];
      }
    }
    store(y + at, value, left, aligned);
  });
}

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

}  // namespace

void dropout(Stream stream, Tensor y, Tensor x, Tensor residual, Dropout dropout, RowIds rows) {
  const char* op = "dropout";
  const Launch launch(stream, op);
  CHECK(x.shape.dims() == 2, op, ": x is ", to_string(x.shape), ", should be [R, C]");
  CHECK(dropout.probability >= 0 && dropout.probability < 1, op, ": probability ", dropout.probability);
  check_operand(op, "y", y, x.dtype, x.shape);
  if (residual.given()) check_operand(op, "residual", residual, x.dtype, x.shape);
  if (x.elements() == 0) return;
  if (dropout.probability == 0) {
    if (residual.given())
      with_type(x.dtype, [&](auto type) {
        map(launch, x.elements(), Sum(), type, y, std::pair(type, x), std::pair(type, residual));
      });
    else if (y.data != x.data)
      check(cudaMemcpyAsync(y.data, x.data, x.bytes(), cudaMemcpyDeviceToDevice, launch.stream), "cudaMemcpyAsync");
    return;
  }
  check_operand(op, "rows.sample", rows.sample, DType::kI64, {x.size(0)});
  check_operand(op, "rows.offset", rows.offset, DType::kI32, {x.size(0)});
  const Keep keep{dropout.key, drop_threshold(dropout.probability),
                  static_cast<float>(1.0 / (1.0 - static_cast<double>(dropout.probability)))};
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const RowGrid on(launch, x.size(0), x.size(1), kLanesOf<T>);
    dropout_kernel<<<on.grid, on.block, 0, launch.stream>>>(
        x.size(0), x.size(1), packs_aligned(kLanesOf<T>, x.size(1), {y, x, residual}), keep, as<T>(y), as<const T>(x),
        as<const T>(residual), as<const std::int64_t>(rows.sample), as<const std::int32_t>(rows.offset));
    launch.done();
  });
}

}  // namespace trireme::cuda
