// Element e of the global tensor is a lane of Philox block e / 4; lanes 2j and 2j + 1 make a pair by Box-Muller in fp64
// (cuda/core/philox.h): sqrt(-2 ln u) (cos, sin)(2 pi v). Rounded to fp32, and from there to the dtype.
// n s bytes and, once a run, about 200 operations of fp64 an element: those bind.
#include "cuda/core/philox.h"
#include "cuda/device/elements.cuh"
#include "cuda/device/launch.cuh"
#include "cuda/device/ops.h"

namespace trireme::cuda {
namespace {

constexpr int kThreads = 256;

// The box within the global tensor, outermost dim first.
struct Box {
  int dims;
  std::int64_t size[Shape::kMaxDims];
  std::int64_t global[Shape::kMaxDims];
  std::int64_t begin[Shape::kMaxDims];
};

// Where element `at` of the box lies in the global tensor.
__device__ inline std::int64_t global_element(std::int64_t at, const Box& box) {
  std::int64_t element = 0, stride = 1;
#pragma unroll
  for (int dim = Shape::kMaxDims - 1; dim >= 0; --dim) {
    if (dim >= box.dims) continue;
    element += (box.begin[dim] + at % box.size[dim]) * stride;
    at /= box.size[dim];
    stride *= box.global[dim];
  }
  return element;
}

__device__ inline double normal(std::uint64_t key, std::uint64_t element) {
  const std::uint64_t block = element / 4;
  const PhiloxBlock bits =
      philox(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0);
  const bool second = element % 4 >= 2;
  const std::uint32_t a = second ? bits.lane[2] : bits.lane[0], b = second ? bits.lane[3] : bits.lane[1];
  const double radius = sqrt(-2.0 * log((a + 1.0) * 0x1p-32));
  // sin and cos of pi x reduce x exactly, and without a table in local memory.
  const double half_turns = b * 0x1p-31;
  return radius * (element % 2 == 0 ? cospi(half_turns) : sinpi(half_turns));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    init_normal_kernel(T* x, std::int64_t n, Box box, std::uint64_t key, float std) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= n) return;
  const double value = normal(key, static_cast<std::uint64_t>(global_element(at, box)));
  x[at] = round_to<T>(static_cast<float>(value * static_cast<double>(std)));
}

}  // namespace

void init_normal(Stream stream, Tensor x, Shape global, Shape begin, std::uint64_t key, float std) {
  const Launch launch(stream, "init_normal");
  CHECK(x.given(), "init_normal: x is not given");
  CHECK(x.shape.dims() == global.dims() && begin.dims() == global.dims(), "init_normal: x ", to_string(x.shape), " at ",
        to_string(begin), " of ", to_string(global));
  Box box{global.dims(), {}, {}, {}};
  for (int dim = 0; dim < global.dims(); ++dim) {
    CHECK(begin[dim] >= 0 && begin[dim] + x.size(dim) <= global[dim], "init_normal: x ", to_string(x.shape), " at ",
          to_string(begin), " of ", to_string(global));
    box.size[dim] = x.size(dim), box.global[dim] = global[dim], box.begin[dim] = begin[dim];
  }
  if (x.elements() == 0) return;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    init_normal_kernel<<<launch.blocks(parts(x.elements(), kThreads)), kThreads, 0, launch.stream>>>(
        as<T>(x), x.elements(), box, key, std);
    launch.done();
  });
}

}  // namespace trireme::cuda
