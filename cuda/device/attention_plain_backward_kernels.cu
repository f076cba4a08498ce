// dq, dk and dv as attention_dq_kernel.cu and attention_dkv_kernel.cu, for the dtypes and head sizes that they do not
// take. delta is computed where it is needed: a row of 1 or 2 bytes has no room for it.
//
// 6 D H (pairs) FLOP for dq, 8 D H (pairs) for dk and dv, in fp32 without tensor cores. A block: 16 rows of a head, or
// 16 keys of a head of K and V. Shared memory: two operands of its own [16] and two of a step [32], rows of (D | 1)
// fp32, 97 KiB for D = 256.
#include "cuda/device/attention_plain.cuh"

namespace trireme::cuda {
namespace {

std::size_t shared_bytes(int head_size) {
  return sizeof(float) * static_cast<std::size_t>(2 * (kPlainOwn + kPlainStep) * plain_stride(head_size));
}

// The operands of a block in shared memory.
struct PlainMemory {
  float* own[2];
  float* walked[2];

  __device__ PlainMemory(float* floats, int d) {
    for (float*& operand : own) {
      operand = floats;
      floats += kPlainOwn * plain_stride(d);
    }
    for (float*& operand : walked) {
      operand = floats;
      floats += kPlainStep * plain_stride(d);
    }
  }
};

// What one row and one key do to each other. `score` and `slope` are q k and d_o v.
struct Pair {
  float probability;  // dropped
  float ds;
};
__device__ inline Pair differentiate(float score, float slope, float to_exponent, float lse, float delta,
                                     float factor) {
  const float probability = exp2f(fmaf(score, to_exponent, -lse * kLog2E));
  return {probability * factor, probability * fmaf(slope, factor, -delta)};
}

template <class T>
__global__ void __launch_bounds__(kAttentionThreads, 1)
    plain_attention_dq_kernel(const __grid_constant__ AttentionArguments in, T* dq, const T* d_o, const T* o,
                              const float* lse) {
  extern __shared__ float floats[];
  const int d = in.head_size;
  const PlainMemory memory(floats, d);  // q, d_o; k, v
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int head = static_cast<int>(blockIdx.x) % in.heads;
  const int kv_head = head / in.heads_per_kv();
  const int first_row = static_cast<int>(blockIdx.x) / in.heads * kPlainOwn;
  const int valid = min(kPlainOwn, in.rows - first_row);
  const int own = static_cast<int>(threadIdx.x) / 32 * kPlainWarpOwn;  // the warp's first row, of the block's
  const Ranges ranges(in.keys, in.rows);
  const HeadDropout dropout(in, head);
  const std::int64_t first = in.q_at(first_row, head);
  plain_copy(memory.own[0], static_cast<const T*>(in.q) + first, in.q_stride(), kPlainOwn, valid, d);
  plain_copy(memory.own[1], d_o + first, in.q_stride(), kPlainOwn, valid, d);
  float delta[kPlainWarpOwn];
#pragma unroll
  for (int r = 0; r < kPlainWarpOwn; ++r) {
    const std::int64_t at = in.q_at(min(first_row + own + r, in.rows - 1), head);
    delta[r] = plain_row_dot(d_o + at, o + at, d);
  }

  float sums[kPlainWarpOwn][kPlainParts] = {};
  KeyWalk<kPlainStep> walk(ranges, first_row, first_row + valid);
  for (auto step = walk.next(); step.end != 0; step = walk.next()) {
    const auto* kv = static_cast<const T*>(in.kv);
    __syncthreads();
    plain_copy(memory.walked[0], kv + in.k_at(step.key, kv_head), in.kv_stride(), kPlainStep, step.end - step.key, d);
    plain_copy(memory.walked[1], kv + in.v_at(step.key, kv_head), in.kv_stride(), kPlainStep, step.end - step.key, d);
    __syncthreads();
    float s[kPlainWarpOwn];
    float dp[kPlainWarpOwn];
    plain_dots(s, memory.own[0] + own * plain_stride(d), memory.walked[0], d);
    plain_dots(dp, memory.own[1] + own * plain_stride(d), memory.walked[1], d);
    const int key = step.key + lane;
    const unsigned attending = plain_attending(ranges, first_row + own, key, step.end);
    unsigned kept = ~0u;
    if (in.samples != nullptr)
      kept = plain_kept(attending, [&](int r) { return dropout.keeps(first_row + own + r, key); });
#pragma unroll
    for (int r = 0; r < kPlainWarpOwn; ++r) {
      const bool attends = (attending >> r & 1) != 0;
      const float total = attends ? lse[std::int64_t{first_row + own + r} * in.heads + head] : 0;
      const float factor = (kept >> r & 1) != 0 ? in.kept_factor : 0;
      s[r] = attends ? differentiate(s[r], dp[r], in.scale * kLog2E, total, delta[r], factor).ds : 0;
    }
    plain_accumulate(sums, s, memory.walked[0], d);
  }
#pragma unroll
  for (int r = 0; r < kPlainWarpOwn; ++r)
    if (const int row = first_row + own + r; row < in.rows) plain_store(dq + in.q_at(row, head), sums[r], in.scale, d);
}

template <class T>
__global__ void __launch_bounds__(kAttentionThreads, 1)
    plain_attention_dkv_kernel(const __grid_constant__ AttentionArguments in, T* dkv, const T* d_o, const T* o,
                               const float* lse) {
  extern __shared__ float floats[];
  __shared__ float deltas[kPlainStep];
  const int d = in.head_size;
  const PlainMemory memory(floats, d);  // k, v; q, d_o
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int kv_head = static_cast<int>(blockIdx.x) % in.kv_heads;
  const int first_key = static_cast<int>(blockIdx.x) / in.kv_heads * kPlainOwn;
  const int valid = min(kPlainOwn, in.all_keys - first_key);
  const int own = warp * kPlainWarpOwn;  // the warp's first key, of the block's
  const Ranges ranges(in.keys, in.rows);
  const auto* kv = static_cast<const T*>(in.kv);
  plain_copy(memory.own[0], kv + in.k_at(first_key, kv_head), in.kv_stride(), kPlainOwn, valid, d);
  plain_copy(memory.own[1], kv + in.v_at(first_key, kv_head), in.kv_stride(), kPlainOwn, valid, d);

  float dk[kPlainWarpOwn][kPlainParts] = {};
  float dv[kPlainWarpOwn][kPlainParts] = {};
  const int group = in.heads_per_kv();
  RowWalk<kPlainStep> walk(ranges, first_key, first_key + valid, kv_head * group, (kv_head + 1) * group);
  for (auto step = walk.next(); step.end != 0; step = walk.next()) {
    const int rows = step.end - step.row;
    const std::int64_t first = in.q_at(step.row, step.head);
    __syncthreads();
    plain_copy(memory.walked[0], static_cast<const T*>(in.q) + first, in.q_stride(), kPlainStep, rows, d);
    plain_copy(memory.walked[1], d_o + first, in.q_stride(), kPlainStep, rows, d);
    for (int i = warp; i < min(kPlainStep, rows); i += kAttentionThreads / 32) {
      const std::int64_t at = in.q_at(step.row + i, step.head);
      const float delta = plain_row_dot(d_o + at, o + at, d);
      if (lane == 0) deltas[i] = delta;
    }
    __syncthreads();
    float s[kPlainWarpOwn];
    float dp[kPlainWarpOwn];
    plain_dots(s, memory.own[0] + own * plain_stride(d), memory.walked[0], d);
    plain_dots(dp, memory.own[1] + own * plain_stride(d), memory.walked[1], d);
    const HeadDropout dropout(in, step.head);
    const int row = step.row + lane;
    const bool exists = row < step.end;
    const int begin = exists ? ranges.begin(row) : 0;
    const int end = exists ? ranges.end(row) : 0;
    const float total = exists ? lse[std::int64_t{row} * in.heads + step.head] : 0;
    const float delta = exists ? deltas[lane] : 0;
    unsigned attending = 0;
#pragma unroll
    for (int r = 0; r < kPlainWarpOwn; ++r)
      if (const int key = first_key + own + r; begin <= key && key < end) attending |= 1u << r;
    unsigned kept = ~0u;
    if (in.samples != nullptr)
      kept = plain_kept(attending, [&](int r) { return dropout.keeps(row, first_key + own + r); });
#pragma unroll
    for (int r = 0; r < kPlainWarpOwn; ++r) {
      const bool attends = (attending >> r & 1) != 0;
      const float factor = (kept >> r & 1) != 0 ? in.kept_factor : 0;
      const Pair pair = differentiate(s[r], dp[r], in.scale * kLog2E, attends ? total : 0, delta, factor);
      s[r] = attends ? pair.ds : 0;
      dp[r] = attends ? pair.probability : 0;
    }
    plain_accumulate(dk, s, memory.walked[0], d);
    plain_accumulate(dv, dp, memory.walked[1], d);
  }
#pragma unroll
  for (int r = 0; r < kPlainWarpOwn; ++r)
    if (const int key = first_key + own + r; key < in.all_keys) {
      plain_store(dkv + in.k_at(key, kv_head), dk[r], in.scale, d);
      plain_store(dkv + in.v_at(key, kv_head), dv[r], 1, d);
    }
}

}  // namespace

void launch_plain_attention_dq(const Launch& launch, DType dtype, const AttentionArguments& in,
                               const AttentionGradients& out) {
  with_type(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_attention(launch, plain_attention_dq_kernel<T>, parts(in.rows, kPlainOwn) * in.heads,
                     shared_bytes(in.head_size), in, static_cast<T*>(out.dq), static_cast<const T*>(out.d_o),
                     static_cast<const T*>(out.o), out.lse);
  });
}

void launch_plain_attention_dkv(const Launch& launch, DType dtype, const AttentionArguments& in,
                                const AttentionGradients& out) {
  with_type(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_attention(launch, plain_attention_dkv_kernel<T>, parts(in.all_keys, kPlainOwn) * in.kv_heads,
                     shared_bytes(in.head_size), in, static_cast<T*>(out.dkv), static_cast<const T*>(out.d_o),
                     static_cast<const T*>(out.o), out.lse);
  });
}

}  // namespace trireme::cuda
