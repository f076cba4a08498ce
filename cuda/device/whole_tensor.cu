// fill, copy, add, sum_tree, add_sum, reciprocal: n s bytes for each tensor that is read or written, and no more
// arithmetic than that.
#include <cmath>

#include "cuda/device/map.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/sums.cuh"

namespace trireme::cuda {
namespace {

struct Constant {
  float value;
  __device__ float operator()() const { return value; }
};
struct Same {
  __device__ float operator()(float x) const { return x; }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

template <class T>
__global__ void __launch_bounds__(kMapThreads) fill_integers(T* x, std::int64_t n, T value) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kMapThreads + threadIdx.x;
  if (at < n) x[at] = value;
}

bool is_integer(DType dtype) { return dtype == DType::kI32 || dtype == DType::kI64; }

// As many pointers as 4 KiB of parameters hold, and their tree.
constexpr int kMostParts = 480;
constexpr int kLevels = 9;
struct Parts {
  const float* at[kMostParts];
  std::int32_t count;
};

// A binary counter of partial sums: level l holds the sum of 2^l parts that end where the higher levels' begin.
__global__ void __launch_bounds__(kMapThreads)
    sum_tree_kernel(std::int64_t n, bool aligned, float* to, const __grid_constant__ Parts parts) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kMapThreads + threadIdx.x) * 4;
  if (at >= n) return;
  Pack<4> level[kLevels];
  for (int part = 0; part < parts.count; ++part) {
    Pack<4> sum = load<4>(parts.at[part] + at, n - at, aligned);
    bool carried = true;
#pragma unroll
    for (int l = 0; l < kLevels; ++l) {
      if (!carried) continue;
      if ((part >> l & 1) != 0) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sum.lane[i] = level[l].lane[i] + sum.lane[i];
      } else {
        level[l] = sum;
        carried = false;
      }
    }
  }
  Pack<4> total{};
  bool any = false;
#pragma unroll
  for (int l = 0; l < kLevels; ++l) {
    if ((parts.count >> l & 1) == 0) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i) total.lane[i] = any ? level[l].lane[i] + total.lane[i] : level[l].lane[i];
    any = true;
  }
  store(to + at, total, n - at, aligned);
}

struct AddTo {
  float* total;
  __device__ void operator()(std::int64_t, float sum) const { *total += sum; }
};

__global__ void reciprocal_kernel(float* ratio, const std::int64_t* count, const float* numerator) {
  const auto divisor = static_cast<double>(*count);
  *ratio = divisor == 0 ? 0.0f : static_cast<float>(static_cast<double>(*numerator) / divisor);
}

}  // namespace

void fill(Stream stream, Tensor x, float value) {
  const Launch launch(stream, "fill");
  CHECK(x.given(), "fill: x is not given");
  const std::int64_t n = x.elements();
  if (n == 0) return;
  if (!is_integer(x.dtype)) {
    with_type(x.dtype, [&](auto type) { map(launch, n, Constant{value}, type, x); });
    return;
  }
  const dim3 blocks = launch.blocks(parts(n, kMapThreads));
  if (x.dtype == DType::kI32)
    fill_integers<<<blocks, kMapThreads, 0, launch.stream>>>(as<std::int32_t>(x), n,
                                                             static_cast<std::int32_t>(std::lrint(value)));
  else
    fill_integers<<<blocks, kMapThreads, 0, launch.stream>>>(as<std::int64_t>(x), n,
                                                             static_cast<std::int64_t>(std::llrint(value)));
  launch.done();
}

void copy(Stream stream, Tensor to, Tensor from) {
  const Launch launch(stream, "copy");
  CHECK(to.elements() == from.elements(), "copy: from ", to_string(from.shape), " to ", to_string(to.shape));
  CHECK(to.dtype == from.dtype || !(is_integer(from.dtype) || is_integer(to.dtype)), "copy: from ", name_of(from.dtype),
        " to ", name_of(to.dtype));
  if (from.elements() == 0) return;
  if (to.dtype == from.dtype) {
    check(cudaMemcpyAsync(to.data, from.data, from.bytes(), cudaMemcpyDeviceToDevice, launch.stream),
          "cudaMemcpyAsync");
    return;
  }
  with_type(to.dtype, [&](auto target) {
    with_type(from.dtype, [&](auto source) {
      if constexpr (!std::is_same_v<decltype(target), decltype(source)>)
        map(launch, from.elements(), Same(), target, to, std::pair(source, from));
    });
  });
}

void add(Stream stream, Tensor to, Tensor from) {
  const Launch launch(stream, "add");
  check_operand("add", "to", to, DType::kF32, from.shape);
  check_operand("add", "from", from, DType::kF32, from.shape);
  const Type<float> f32;
  map(launch, to.elements(), Sum(), f32, to, std::pair(f32, to), std::pair(f32, from));
}

void sum_tree(Stream stream, Tensor to, Tensors tensors) {
  const char* op = "sum_tree";
  const Launch launch(stream, op);
  const auto count = static_cast<std::int32_t>(tensors.size());
  CHECK(1 <= count && count <= kMostParts, op, ": ", count, " parts; 1 to ", kMostParts, " fit a kernel's parameters");
  check_operand(op, "to", to, DType::kF32, to.shape);
  Parts all;
  all.count = count;
  bool aligned = packs_aligned(4, 4, {to});
  for (std::int32_t i = 0; i < count; ++i) {
    const Tensor& part = tensors[static_cast<std::size_t>(i)];
    check_operand(op, "a part", part, DType::kF32, to.shape);
    aligned = aligned && packs_aligned(4, 4, {part});
    all.at[i] = as<const float>(part);
  }
  if (to.elements() == 0) return;
  sum_tree_kernel<<<launch.blocks(parts(to.elements(), 4 * kMapThreads)), kMapThreads, 0, launch.stream>>>(
      to.elements(), aligned, as<float>(to), all);
  launch.done();
}

void add_sum(Stream stream, Tensor total, Tensor x) {
  const Launch launch(stream, "add_sum");
  check_operand("add_sum", "total", total, DType::kF32, {1});
  check_operand("add_sum", "x", x, DType::kF32, x.shape);
  const std::int64_t blocks = parts(x.elements(), kSumBlock);
  float* sums = scratch<float>(stream, blocks + tree_scratch(blocks));
  const auto launch_sums = [&](const SumList& list, std::int32_t chunks) {
    block_sums<<<launch.blocks(chunks), kSumThreads, 0, launch.stream>>>(list, Same(), sums);
    launch.done();
  };
  Batches<1, kSumChunk, decltype(launch_sums)> batches(launch_sums);
  batches.add({x}, 0);
  batches.flush();
  tree_sum(launch, sums, blocks, sums + blocks, AddTo{as<float>(total)});
}

void reciprocal(Stream stream, Tensor ratio, Tensor count, Tensor numerator) {
  const Launch launch(stream, "reciprocal");
  check_operand("reciprocal", "ratio", ratio, DType::kF32, {1});
  check_operand("reciprocal", "count", count, DType::kI64, {1});
  check_operand("reciprocal", "numerator", numerator, DType::kF32, {1});
  reciprocal_kernel<<<1, 1, 0, launch.stream>>>(as<float>(ratio), as<const std::int64_t>(count),
                                                as<const float>(numerator));
  launch.done();
}

}  // namespace trireme::cuda
