// dq = scale ds k, with p = exp(s - lse), ds = p (f (d_o v^T) - delta), f what dropout multiplies by: scores are
// computed again. T. Dao, "FlashAttention-2", ICLR 2024; no atomics here, since dk and dv are another kernel's.
//
// 6 D H (pairs) FLOP; reads (2 R H + 2 K Hk) D s bytes and 8 R H of lse and delta, writes R H D s. delta lies in the
// first 4 bytes of its row of dq (attention_delta.cu) until this overwrites them.
//
// A block: 64 rows of one head, 4 warps of 16, which keep q and d_o as fragments in registers. ds is rounded to T for
// the last product. Shared memory: two steps of k and v [4096 / D][D], 32 KiB, through which q, d_o and at last dq pass
// too, and the rows' ranges. One barrier a step. For a step of 32 keys and D = 128: 192 cycles of ldmatrix for 192 of
// mma.
#include "cuda/device/attention_tile.cuh"

namespace trireme::cuda {
namespace {

constexpr int kRows = 64;
constexpr int kWarpRows = 16;

template <int D>
struct DqMemory {
  static constexpr int kStep = kAttentionStep<D>;
  struct Buffer {
    alignas(128) std::uint16_t k[kStep * D];
    alignas(128) std::uint16_t v[kStep * D];
  };
  static_assert(sizeof(Buffer) >= 2 * kRows * D);  // q passes through one, d_o through the other
  Buffer buffers[2];
  int begin[kRows];
  int end[kRows];
};

// One warp's 16 rows.
template <class T, int D>
class DqRows {
 public:
  static constexpr int kStep = kAttentionStep<D>;
  using Step = typename KeyWalk<kStep>::Step;

  // After a barrier behind the copies of q and d_o.
  __device__ DqRows(const AttentionArguments& in, const DqMemory<D>& memory, int first_row, int head, const T* dq,
                    const float* lse)
      : in_(in),
        memory_(memory),
        row_(static_cast<int>(threadIdx.x) / 32 * kWarpRows),
        first_row_(first_row),
        head_(head),
        to_exponent_(in.scale * kLog2E) {
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
      q_[k] = load_a<D>(shared_address(&memory.buffers[0]), row_, k * 16);
      d_o_[k] = load_a<D>(shared_address(&memory.buffers[1]), row_, k * 16);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = first_row + row_ + h * 8 + lane_row();
      const bool attends =
          row < in.rows && memory.begin[row_ + h * 8 + lane_row()] < memory.end[row_ + h * 8 + lane_row()];
      lse_[h] = attends ? lse[std::int64_t{row} * in.heads + head] * kLog2E : 0;  // not -inf: exp2(-inf - lse) is 0
      delta_[h] = attends ? *reinterpret_cast<const float*>(dq + in.q_at(row, head)) : 0;
    }
  }

  __device__ void add(const Step& step, int buffer) {
    const int key_end = min(step.key + kStep, step.end);
    if (key_end <= memory_.begin[row_] || step.key >= memory_.end[row_ + kWarpRows - 1]) return;
    const SharedAddress k = shared_address(memory_.buffers[buffer].k);
    const SharedAddress v = shared_address(memory_.buffers[buffer].v);
    float s[kStep / 8][4] = {};
    float dp[kStep / 8][4] = {};
    multiply(s, q_, k);
    multiply(dp, d_o_, v);
    if (in_.samples != nullptr) drop(dp, step);
    const bool all_attend = memory_.begin[row_ + kWarpRows - 1] <= step.key && step.key + kStep <= step.end &&
                            step.key + kStep <= memory_.end[row_];
    if (!all_attend) mask(s, step);
#pragma unroll
    for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float p = exp2_hardware(fmaf(s[n][i], to_exponent_, -lse_[i / 2]));
        s[n][i] = p * (dp[n][i] - delta_[i / 2]);
      }
#pragma unroll
    for (int j = 0; j < kStep / 16; ++j) {
      const Fragment a = as_a<T>(s, j);
#pragma unroll
      for (int n = 0; n < D / 8; n += 2) {
        const Fragment b = load_b_of_columns<D>(k, j * 16, n * 8);
        multiply_add<T>(dq_[n], a, b.r[0], b.r[1]);
        multiply_add<T>(dq_[n + 1], a, b.r[2], b.r[3]);
      }
    }
  }

  // `tile` has room for the block's rows, and nobody reads it any more.
  __device__ void store(T* dq, SharedAddress tile) const {
    store_rows<T, D>(dq, in_.q_stride(), in_.rows - first_row_, tile, row_, dq_, in_.scale, in_.scale);
  }

 private:
  using Scores = float[kStep / 8][4];

  __device__ static void multiply(Scores& c, const Fragment (&a)[D / 16], SharedAddress rows) {
#pragma unroll
    for (int d = 0; d < D / 16; ++d)
#pragma unroll
      for (int n = 0; n < kStep / 8; n += 2) {
        const Fragment b = load_b_of_rows<D>(rows, n * 8, d * 16);
        multiply_add<T>(c[n], a[d], b.r[0], b.r[1]);
        multiply_add<T>(c[n + 1], a[d], b.r[2], b.r[3]);
      }
  }

  __device__ void mask(Scores& s, const Step& step) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = row_ + h * 8 + lane_row();
      const int begin = memory_.begin[row] - step.key - lane_column();
      const int end = min(memory_.end[row], step.end) - step.key - lane_column();
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (n * 8 + e < begin || n * 8 + e >= end) s[n][2 * h + e] = -INFINITY;
    }
  }

  __device__ void drop(Scores& dp, const Step& step) const {
    const HeadDropout dropout(in_, head_);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = min(first_row_ + row_ + h * 8 + lane_row(), in_.rows - 1);
      const std::uint32_t kept = dropout.kept_keys<kStep / 8>(row, step.key, step.end);
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          dp[n][2 * h + e] = (kept >> (2 * n + e) & 1) != 0 ? __fmul_rn(dp[n][2 * h + e], in_.kept_factor) : 0;
    }
  }

  const AttentionArguments& in_;
  const DqMemory<D>& memory_;
  const int row_;  // of the block's
  const int first_row_;
  const int head_;
  const float to_exponent_;
  Fragment q_[D / 16];
  Fragment d_o_[D / 16];
  float lse_[2];  // times log2(e)
  float delta_[2];
  float dq_[D / 8][4] = {};
};

template <class T, int D>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_dq_kernel(const __grid_constant__ AttentionArguments in, T* dq, const T* d_o, const float* lse) {
  constexpr int kStep = kAttentionStep<D>;
  extern __shared__ __align__(128) unsigned char bytes[];
  auto& memory = *reinterpret_cast<DqMemory<D>*>(bytes);
  const int head = static_cast<int>(blockIdx.x) % in.heads;
  const int tiles = (in.rows + kRows - 1) / kRows;
  const int first_row = (tiles - 1 - static_cast<int>(blockIdx.x) / in.heads) * kRows;
  const int valid = min(kRows, in.rows - first_row);
  const Ranges ranges(in.keys, in.rows);

  const auto* q = static_cast<const T*>(in.q) + in.q_at(first_row, head);
  copy_rows<D, kRows, kAttentionThreads>(shared_address(&memory.buffers[0]), q, in.q_stride(), valid);
  copy_rows<D, kRows, kAttentionThreads>(shared_address(&memory.buffers[1]), d_o + in.q_at(first_row, head),
                                         in.q_stride(), valid);
  if (const int row = static_cast<int>(threadIdx.x); row < kRows) {
    memory.begin[row] = row < valid ? ranges.begin(first_row + row) : kNever;
    memory.end[row] = row < valid ? ranges.end(first_row + row) : kNever;
  }
  copies_landed();
  __syncthreads();
  DqRows<T, D> rows(in, memory, first_row, head, dq, lse);
  __syncthreads();

  const int kv_head = head / in.heads_per_kv();
  take_steps(
      KeyWalk<kStep>(ranges, first_row, first_row + valid),
      [&](const auto& step, int buffer) {
        copy_keys<T, D>(shared_address(memory.buffers[buffer].k), shared_address(memory.buffers[buffer].v), in,
                        step.key, step.end, kv_head);
      },
      [&](const auto& step, int buffer) { rows.add(step, buffer); });
  rows.store(dq + in.q_at(first_row, head), shared_address(&memory.buffers[0]));
}

}  // namespace

void launch_attention_dq(const Launch& launch, DType dtype, const AttentionArguments& in,
                         const AttentionGradients& out) {
  with_tensor_core_head(dtype, in.head_size, [&](auto type, auto head_size) {
    using T = typename decltype(type)::type;
    constexpr int D = decltype(head_size)::value;
    launch_attention(launch, attention_dq_kernel<T, D>, parts(in.rows, kRows) * in.heads, sizeof(DqMemory<D>), in,
                     static_cast<T*>(out.dq), static_cast<const T*>(out.d_o), out.lse);
  });
}

}  // namespace trireme::cuda
