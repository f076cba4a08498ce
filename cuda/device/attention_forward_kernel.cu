// o = softmax(scale q k^T) v over each row's range of keys, lse = log sum exp, by FlashAttention-2's scheme: a block
// has a tile of rows of one head and walks its keys; the maximum and the sum of a row are carried from step to step,
// and what was summed under an older maximum is scaled down. T. Dao, "FlashAttention-2", ICLR 2024.
//
// 4 D H (pairs) FLOP; reads (R H + 2 K Hk) D s bytes, writes R H (D s + 4). At the 8B recipe's length arithmetic binds
// (README.md).
//
// A block: 128 rows, 4 warps of 32 (two A fragments for each B, so that shared memory feeds the tensor cores: for 32 x
// 32 x 128, 192 cycles of ldmatrix for 256 of mma). Scores, P and o stay in registers; P is rounded to T for the second
// product. Shared memory: q [128][D], two steps of k and v [4096 / D][D] (the next is copied while this one is used),
// begin and end of the rows' ranges: 65 KiB for D = 128, 49 KiB for D = 64. One barrier a step.
// Blocks are in the order of their work where ranges are causal: last rows first.
#include "cuda/device/attention_tile.cuh"

namespace trireme::cuda {
namespace {

constexpr int kRows = 128;
constexpr int kWarpRows = 32;

template <int D>
struct ForwardMemory {
  static constexpr int kStep = kAttentionStep<D>;
  alignas(128) std::uint16_t q[kRows * D];
  alignas(128) std::uint16_t k[2][kStep * D];
  alignas(128) std::uint16_t v[2][kStep * D];
  int begin[kRows];
  int end[kRows];
};

// One warp's 32 rows. Of rows: m tiles of 16, h halves of 8 (tensor_core.cuh).
template <class T, int D>
class ForwardRows {
 public:
  static constexpr int kStep = kAttentionStep<D>;
  using Step = typename KeyWalk<kStep>::Step;

  __device__ ForwardRows(const AttentionArguments& in, const ForwardMemory<D>& memory, int first_row, int head)
      : in_(in),
        memory_(memory),
        row_(static_cast<int>(threadIdx.x) / 32 * kWarpRows),
        first_row_(first_row),
        head_(head),
        to_exponent_(in.scale * kLog2E) {}

  __device__ void add(const Step& step, int buffer) {
    const int key_end = min(step.key + kStep, step.end);
    if (key_end <= memory_.begin[row_] || step.key >= memory_.end[row_ + kWarpRows - 1]) return;
    float s[2][kStep / 8][4] = {};
    multiply_q_k(s, shared_address(memory_.k[buffer]));
    const bool all_attend = memory_.begin[row_ + kWarpRows - 1] <= step.key && step.key + kStep <= step.end &&
                            step.key + kStep <= memory_.end[row_];
    if (!all_attend) mask(s, step);
    exponentiate(s);
    if (in_.samples != nullptr) drop(s, step);
    multiply_p_v(s, shared_address(memory_.v[buffer]));
  }

  // `tile` is q's, of which the warp no longer needs its rows.
  __device__ void store(T* o, float* lse, SharedAddress tile) {
    const int valid = in_.rows - first_row_;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      float factor[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float sum = sum_[m][h];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        factor[h] = sum > 0 ? in_.kept_factor / sum : sum;  // no keys: 0; NaN stays
        const int row = row_ + m * 16 + h * 8 + lane_row();
        if (lane_column() == 0 && row < valid)
          lse[std::int64_t{first_row_ + row} * in_.heads + head_] = fmaf(most_[m][h], kLn2, logf(sum));
      }
      store_rows<T, D>(o, in_.q_stride(), valid, tile, row_ + m * 16, o_[m], factor[0], factor[1]);
    }
  }

 private:
  using Scores = float[2][kStep / 8][4];

  __device__ void multiply_q_k(Scores& s, SharedAddress k) const {
    const SharedAddress q = shared_address(memory_.q);
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      const Fragment a[2] = {load_a<D>(q, row_, d), load_a<D>(q, row_ + 16, d)};
#pragma unroll
      for (int n = 0; n < kStep / 8; n += 2) {
        const Fragment b = load_b_of_rows<D>(k, n * 8, d);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          multiply_add<T>(s[m][n], a[m], b.r[0], b.r[1]);
          multiply_add<T>(s[m][n + 1], a[m], b.r[2], b.r[3]);
        }
      }
    }
  }

  __device__ void mask(Scores& s, const Step& step) const {
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = row_ + m * 16 + h * 8 + lane_row();
        const int begin = memory_.begin[row] - step.key - lane_column();
        const int end = min(memory_.end[row], step.end) - step.key - lane_column();
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            if (n * 8 + e < begin || n * 8 + e >= end) s[m][n][2 * h + e] = -INFINITY;
      }
  }

  // s becomes exp2(s - most); the running state goes on.
  __device__ void exponentiate(Scores& s) {
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float most = s[m][0][2 * h];
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n) most = fmaxf(most, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
        most = fmaxf(most_[m][h], most * to_exponent_);
        // Of a row that attends to nothing yet, the maximum is -inf. A row whose maximum stays is scaled by exactly 1.
        const float base = most == -INFINITY ? 0 : most;
        const float shrink = exp2_hardware(most_[m][h] - base);
        most_[m][h] = most;
        float sum = __fmul_rn(sum_[m][h], shrink);
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& place = s[m][n][2 * h + e];
            place = exp2_hardware(fmaf(place, to_exponent_, -base));
            sum += place;
          }
        sum_[m][h] = sum;
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) o_[m][n][2 * h + e] *= shrink;
      }
  }

  __device__ void drop(Scores& s, const Step& step) const {
    const HeadDropout dropout(in_, head_);
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = min(first_row_ + row_ + m * 16 + h * 8 + lane_row(), in_.rows - 1);
        const std::uint32_t kept = dropout.kept_keys<kStep / 8>(row, step.key, step.end);
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            if ((kept >> (2 * n + e) & 1) == 0) s[m][n][2 * h + e] = 0;
      }
  }

  __device__ void multiply_p_v(const Scores& p, SharedAddress v) {
#pragma unroll
    for (int k = 0; k < kStep / 16; ++k) {
      const Fragment a[2] = {as_a<T>(p[0], k), as_a<T>(p[1], k)};
#pragma unroll
      for (int n = 0; n < D / 8; n += 2) {
        const Fragment b = load_b_of_columns<D>(v, k * 16, n * 8);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          multiply_add<T>(o_[m][n], a[m], b.r[0], b.r[1]);
          multiply_add<T>(o_[m][n + 1], a[m], b.r[2], b.r[3]);
        }
      }
    }
  }

  const AttentionArguments& in_;
  const ForwardMemory<D>& memory_;
  const int row_;  // of the block's
  const int first_row_;
  const int head_;
  const float to_exponent_;
  float most_[2][2] = {{-INFINITY, -INFINITY}, {-INFINITY, -INFINITY}};  // times scale log2(e)
  float sum_[2][2] = {};                                                 // of the lane's columns
  float o_[2][D / 8][4] = {};
};

template <class T, int D>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_forward_kernel(const __grid_constant__ AttentionArguments in, T* o, float* lse) {
  constexpr int kStep = kAttentionStep<D>;
  extern __shared__ __align__(128) unsigned char bytes[];
  auto& memory = *reinterpret_cast<ForwardMemory<D>*>(bytes);
  const int head = static_cast<int>(blockIdx.x) % in.heads;
  const int tiles = (in.rows + kRows - 1) / kRows;
  const int first_row = (tiles - 1 - static_cast<int>(blockIdx.x) / in.heads) * kRows;
  const int valid = min(kRows, in.rows - first_row);
  const Ranges ranges(in.keys, in.rows);

  const auto* q = static_cast<const T*>(in.q) + in.q_at(first_row, head);
  copy_rows<D, kRows, kAttentionThreads>(shared_address(memory.q), q, in.q_stride(), valid);
  for (int row = static_cast<int>(threadIdx.x); row < kRows; row += kAttentionThreads) {
    memory.begin[row] = row < valid ? ranges.begin(first_row + row) : kNever;
    memory.end[row] = row < valid ? ranges.end(first_row + row) : kNever;
  }

  const int kv_head = head / in.heads_per_kv();
  ForwardRows<T, D> rows(in, memory, first_row, head);
  take_steps(
      KeyWalk<kStep>(ranges, first_row, first_row + valid),
      [&](const auto& step, int buffer) {
        copy_keys<T, D>(shared_address(memory.k[buffer]), shared_address(memory.v[buffer]), in, step.key, step.end,
                        kv_head);
      },
      [&](const auto& step, int buffer) { rows.add(step, buffer); });
  rows.store(o + in.q_at(first_row, head), lse, shared_address(memory.q));
}

}  // namespace

void launch_attention_forward(const Launch& launch, DType dtype, const AttentionArguments& in,
                              const AttentionOutputs& out) {
  with_tensor_core_head(dtype, in.head_size, [&](auto type, auto head_size) {
    using T = typename decltype(type)::type;
    constexpr int D = decltype(head_size)::value;
    launch_attention(launch, attention_forward_kernel<T, D>, parts(in.rows, kRows) * in.heads, sizeof(ForwardMemory<D>),
                     in, static_cast<T*>(out.o), out.lse);
  });
}

}  // namespace trireme::cuda
