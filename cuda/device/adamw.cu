// g = factor grad; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
// master -= lr ((m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon) + decay master); parameter = rounded master.
// One pass over all tensors, (28 + s) n bytes, which bind: m, v and the master are read and written, the gradient is
// read and the parameter written.
#include "cuda/device/elements.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/tensor_list.cuh"

namespace trireme::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kChunk = 16384;  // elements of a block: 480 KiB to move
using List = TensorList<5, kChunk>;     // parameter, master, m, v, gradient

struct Control {
  const float* factor;
  const std::int32_t* skip;
  const std::int64_t* applied;
};

struct Factors {
  float gradient, correction1, correction2;
};

// beta^n in fp64 by squaring. 1 - beta^n is computed from it: 1 - 0.999^1 has three digits in fp32.
__device__ inline double power(double beta, std::int64_t n) {
  double result = 1;
  for (; n > 0; n /= 2, beta *= beta)
    if (n % 2 != 0) result *= beta;
  return result;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(const __grid_constant__ List list, Control control, AdamW adamw) {
  if (*control.skip != 0) return;
  __shared__ Factors shared;
  if (threadIdx.x == 0) {
    const std::int64_t updates = *control.applied;
    shared = {*control.factor, static_cast<float>(1 / (1 - power(static_cast<double>(adamw.beta1), updates))),
              static_cast<float>(1 / (1 - power(static_cast<double>(adamw.beta2), updates)))};
  }
  __syncthreads();
  const Factors factors = shared;
  const typename List::Chunk chunk = list.chunk(static_cast<std::int32_t>(blockIdx.x));
  std::byte* const* data = list.data[chunk.tensor];
  T* parameter = reinterpret_cast<T*>(data[0]);
  float* master = reinterpret_cast<float*>(data[1]);
  float* first = reinterpret_cast<float*>(data[2]);
  float* second = reinterpret_cast<float*>(data[3]);
  const float* gradient = reinterpret_cast<const float*>(data[4]);
  const bool aligned =
      ((reinterpret_cast<std::uintptr_t>(parameter) * (4 / sizeof(T))) % 16 |
       reinterpret_cast<std::uintptr_t>(master) % 16 | reinterpret_cast<std::uintptr_t>(first) % 16 |
       reinterpret_cast<std::uintptr_t>(second) % 16 | reinterpret_cast<std::uintptr_t>(gradient) % 16) == 0;
  for (std::int64_t at = chunk.begin + 4 * threadIdx.x; at < chunk.end; at += 4 * kThreads) {
    const std::int64_t left = chunk.end - at;
    const Pack<4> g = load<4>(gradient + at, left, aligned), old = load<4>(master + at, left, aligned);
    Pack<4> m = load<4>(first + at, left, aligned), v = load<4>(second + at, left, aligned), updated;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float clipped = g.lane[i] * factors.gradient;
      m.lane[i] = fmaf(m.lane[i], adamw.beta1, clipped * (1 - adamw.beta1));
      v.lane[i] = fmaf(v.lane[i], adamw.beta2, clipped * clipped * (1 - adamw.beta2));
      const float root = sqrtf(v.lane[i] * factors.correction2) + adamw.epsilon;
      const float step = fmaf(old.lane[i], adamw.weight_decay, m.lane[i] * factors.correction1 / root);
      updated.lane[i] = fmaf(-adamw.learning_rate, step, old.lane[i]);
    }
    store(first + at, m, left, aligned);
    store(second + at, v, left, aligned);
    store(master + at, updated, left, aligned);
    if (static_cast<const void*>(parameter) != master) store(parameter + at, updated, left, aligned);
  }
}

}  // namespace

void adamw(Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
           StepControl control, AdamW adamw) {
  const char* op = "adamw";
  const Launch launch(stream, op);
  CHECK(parameters.size() == masters.size() && m.size() == masters.size() && v.size() == masters.size() &&
            gradients.size() == masters.size(),
        op, ": ", parameters.size(), " parameters, ", masters.size(), " masters, ", m.size(), " m, ", v.size(), " v, ",
        gradients.size(), " gradients");
  check_operand(op, "factor", control.factor, DType::kF32, {1});
  check_operand(op, "skip", control.skip, DType::kI32, {1});
  check_operand(op, "applied", control.applied, DType::kI64, {1});
  const Control read{as<const float>(control.factor), as<const std::int32_t>(control.skip),
                     as<const std::int64_t>(control.applied)};
  DType dtype = DType::kF32;  // of the parameters in the list
  const auto launch_updates = [&](const List& list, std::int32_t chunks) {
    with_type(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      adamw_kernel<T><<<launch.blocks(chunks), kThreads, 0, launch.stream>>>(list, read, adamw);
      launch.done();
    });
  };
  Batches<5, kChunk, decltype(launch_updates)> batches(launch_updates);
  for (std::size_t i = 0; i < masters.size(); ++i) {
    check_operand(op, "a master", masters[i], DType::kF32, masters[i].shape);
    check_operand(op, "a parameter", parameters[i], parameters[i].dtype, masters[i].shape);
    for (const Tensor& one : {m[i], v[i], gradients[i]})
      check_operand(op, "m, v or a gradient", one, DType::kF32, masters[i].shape);
    if (parameters[i].dtype != dtype) batches.flush();
    dtype = parameters[i].dtype;
    batches.add({parameters[i], masters[i], m[i], v[i], gradients[i]}, 0);
  }
  batches.flush();
}

}  // namespace trireme::cuda
