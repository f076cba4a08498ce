// o = softmax(scale q k^T) v and lse = log sum exp over each row's range, as attention_forward_kernel.cu, for the
// dtypes and head sizes that it does not take.
//
// 4 D H (pairs) FLOP, in fp32 without tensor cores; bytes as there. A block: 16 rows of one head; shared memory: q
// [16], k and v [32] rows of (D | 1) fp32, 81 KiB for D = 256.
#include "cuda/device/attention_plain.cuh"

namespace trireme::cuda {
namespace {

std::size_t shared_bytes(int head_size) {
  return sizeof(float) * static_cast<std::size_t>((kPlainOwn + 2 * kPlainStep) * plain_stride(head_size));
}

template <class T>
__global__ void __launch_bounds__(kAttentionThreads)
    plain_attention_forward_kernel(const __grid_constant__ AttentionArguments in, T* o, float* lse) {
  extern __shared__ float floats[];
  const int d = in.head_size;
  float* const q = floats;
  float* const k = q + kPlainOwn * plain_stride(d);
  float* const v = k + kPlainStep * plain_stride(d);
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int head = static_cast<int>(blockIdx.x) % in.heads;
  const int kv_head = head / in.heads_per_kv();
  const int first_row = static_cast<int>(blockIdx.x) / in.heads * kPlainOwn;
  const int valid = min(kPlainOwn, in.rows - first_row);
  const int own = static_cast<int>(threadIdx.x) / 32 * kPlainWarpOwn;  // the warp's first row, of the block's
  const float to_exponent = in.scale * kLog2E;
  const Ranges ranges(in.keys, in.rows);
  const HeadDropout dropout(in, head);
  plain_copy(q, static_cast<const T*>(in.q) + in.q_at(first_row, head), in.q_stride(), kPlainOwn, valid, d);

  float most[kPlainWarpOwn] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};  // of the scaled scores, times log2(e)
  float sum[kPlainWarpOwn] = {};                                             // of the lane's keys
  float sums[kPlainWarpOwn][kPlainParts] = {};
  KeyWalk<kPlainStep> walk(ranges, first_row, first_row + valid);
  for (auto step = walk.next(); step.end != 0; step = walk.next()) {
    const auto* kv = static_cast<const T*>(in.kv);
    __syncthreads();
    plain_copy(k, kv + in.k_at(step.key, kv_head), in.kv_stride(), kPlainStep, step.end - step.key, d);
    plain_copy(v, kv + in.v_at(step.key, kv_head), in.kv_stride(), kPlainStep, step.end - step.key, d);
    __syncthreads();
    float p[kPlainWarpOwn];
    plain_dots(p, q + own * plain_stride(d), k, d);
    const int key = step.key + lane;
    const unsigned attending = plain_attending(ranges, first_row + own, key, step.end);
    unsigned kept = ~0u;
    if (in.samples != nullptr)
      kept = plain_kept(attending, [&](int r) { return dropout.keeps(first_row + own + r, key); });
#pragma unroll
    for (int r = 0; r < kPlainWarpOwn; ++r) {
      const float exponent = (attending >> r & 1) != 0 ? __fmul_rn(p[r], to_exponent) : -INFINITY;
      const float before = most[r];
      most[r] = fmaxf(before, warp_max(exponent));
      // Of a row that attends to nothing yet, the maximum is -inf.
      const float base = most[r] == -INFINITY ? 0 : most[r];
      const float shrink = exp2f(before - base);
      p[r] = exp2f(exponent - base);
      sum[r] = fmaf(sum[r], shrink, p[r]);
      if ((kept >> r & 1) == 0) p[r] = 0;
#pragma unroll
      for (float& one : sums[r]) one *= shrink;
    }
    plain_accumulate(sums, p, v, d);
  }
#pragma unroll
  for (int r = 0; r < kPlainWarpOwn; ++r) {
    const int row = first_row + own + r;
    const float total = warp_sum(sum[r]);
    if (row >= in.rows) continue;
    const float factor = total > 0 ? in.kept_factor / total : total;  // no keys: 0; NaN stays
    plain_store(o + in.q_at(row, head), sums[r], factor, d);
    if (lane == 0) lse[std::int64_t{row} * in.heads + head] = fmaf(most[r], kLn2, logf(total));
  }
}

}  // namespace

void launch_plain_attention_forward(const Launch& launch, DType dtype, const AttentionArguments& in,
                                    const AttentionOutputs& out) {
  with_type(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_attention(launch, plain_attention_forward_kernel<T>, parts(in.rows, kPlainOwn) * in.heads,
                     shared_bytes(in.head_size), in, static_cast<T*>(out.o), out.lse);
  });
}

}  // namespace trireme::cuda
