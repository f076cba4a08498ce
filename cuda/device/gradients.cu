// square_sums and find_nonfinite read every gradient once: 4 n bytes each. decide_step sums what square_sums left,
// 4 n / 1024 bytes, in one tree.
#include "cuda/device/ops.h"
#include "cuda/device/sums.cuh"

namespace trireme::cuda {
namespace {

struct Square {
  __device__ float operator()(float x) const { return x * x; }
};

// An exponent of ones: an infinity or a NaN.
__device__ inline bool finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

__global__ void __launch_bounds__(kSumThreads)
    find_nonfinite_kernel(const __grid_constant__ SumList list, std::int32_t* flags) {
  const SumList::Chunk chunk = list.chunk(static_cast<std::int32_t>(blockIdx.x));
  const float* x = reinterpret_cast<const float*>(list.data[chunk.tensor][0]);
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
  bool found = false;
#pragma unroll
  for (int step = 0; step < kSumChunk / (4 * kSumThreads); ++step) {
    const std::int64_t at = chunk.begin + 4 * (kSumThreads * step + static_cast<int>(threadIdx.x));
    if (at >= chunk.end) continue;
    const Pack<4> pack = load<4>(x + at, chunk.end - at, aligned);
#pragma unroll
    for (int i = 0; i < 4; ++i) found = found || !finite(pack.lane[i]);
  }
  // Several blocks may find one in the same tensor.
  if (found) atomicOr(flags + list.place[chunk.tensor], 1);
}

struct Decide {
  float* norm;
  float* clip;
  float* factor;
  std::int32_t* skip;
  std::int64_t* applied;
  float* scale;
  std::int64_t* good;
  float limit;
  LossScale moves;

  __device__ void operator()(std::int64_t, float sum) const {
    const float carried = *scale;
    const float length = sqrtf(sum + 0.0f) / carried;  // of no sums at all the tree is -0
    const float clipped = length > limit && limit > 0 ? limit / length : 1.0f;
    const bool left_out = !finite(length);
    *norm = length;
    *clip = clipped;
    *factor = clipped / carried;
    *skip = left_out ? 1 : 0;
    *applied += left_out ? 0 : 1;

    const std::int64_t in_a_row = left_out ? 0 : *good + 1;
    const bool grow = in_a_row >= moves.interval;
    if (left_out)
      *scale = fmaxf(carried * moves.backoff, moves.least);
    else if (grow && finite(carried * moves.growth))
      *scale = carried * moves.growth;
    *good = grow ? 0 : in_a_row;
  }
};

}  // namespace

void square_sums(Stream stream, Tensor sums, Tensors x) {
  const char* op = "square_sums";
  const Launch launch(stream, op);
  const auto launch_sums = [&](const SumList& list, std::int32_t chunks) {
    block_sums<<<launch.blocks(chunks), kSumThreads, 0, launch.stream>>>(list, Square(), as<float>(sums));
    launch.done();
  };
  std::int64_t blocks = 0;
  for (const Tensor& tensor : x) {
    check_operand(op, "a tensor of x", tensor, DType::kF32, tensor.shape);
    blocks += parts(tensor.elements(), kSumBlock);
  }
  check_operand(op, "sums", sums, DType::kF32, {blocks});
  Batches<1, kSumChunk, decltype(launch_sums)> batches(launch_sums);
  blocks = 0;
  for (const Tensor& tensor : x) {
    batches.add({tensor}, blocks);
    blocks += parts(tensor.elements(), kSumBlock);
  }
  batches.flush();
}

void find_nonfinite(Stream stream, Tensor flags, Tensors x) {
  const char* op = "find_nonfinite";
  const Launch launch(stream, op);
  check_operand(op, "flags", flags, DType::kI32, {static_cast<std::int64_t>(x.size())});
  const auto launch_search = [&](const SumList& list, std::int32_t chunks) {
    find_nonfinite_kernel<<<launch.blocks(chunks), kSumThreads, 0, launch.stream>>>(list, as<std::int32_t>(flags));
    launch.done();
  };
  Batches<1, kSumChunk, decltype(launch_search)> batches(launch_search);
  for (std::size_t i = 0; i < x.size(); ++i) {
    check_operand(op, "a tensor of x", x[i], DType::kF32, x[i].shape);
    batches.add({x[i]}, static_cast<std::int64_t>(i));
  }
  batches.flush();
}

void decide_step(Stream stream, StepControl control, Tensor sums, float limit, LossScale moves) {
  const char* op = "decide_step";
  const Launch launch(stream, op);
  check_operand(op, "norm", control.norm, DType::kF32, {1});
  check_operand(op, "clip", control.clip, DType::kF32, {1});
  check_operand(op, "factor", control.factor, DType::kF32, {1});
  check_operand(op, "skip", control.skip, DType::kI32, {1});
  check_operand(op, "applied", control.applied, DType::kI64, {1});
  check_operand(op, "scale", control.scale, DType::kF32, {1});
  check_operand(op, "good", control.good, DType::kI64, {1});
  check_operand(op, "sums", sums, DType::kF32, {sums.elements()});
  CHECK(moves.interval >= 1, op, ": an interval of ", moves.interval, " steps");
  const Decide decide{as<float>(control.norm),
                      as<float>(control.clip),
                      as<float>(control.factor),
                      as<std::int32_t>(control.skip),
                      as<std::int64_t>(control.applied),
                      as<float>(control.scale),
                      as<std::int64_t>(control.good),
                      limit,
                      moves};
  float* partial = scratch<float>(stream, tree_scratch(sums.elements()));
  tree_sum(launch, as<const float>(sums), sums.elements(), partial, decide);
}

}  // namespace trireme::cuda
