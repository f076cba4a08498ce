// dv = (p f)^T d_o and dk = scale ds^T q, summed over the heads of the group and the rows that attend to the key, heads
// outermost, in order: no atomics, the same bits every time. p, f, ds and delta as in attention_dq_kernel.cu.
//
// 8 D H (pairs) FLOP; reads (2 R H + 2 K Hk) D s bytes and 8 R H of lse and delta, writes 2 K Hk D s. delta lies in the
// first 4 bytes of its row of dq.
//
// A block: 64 keys of one head of K and V, 4 warps of 16. Scores are transposed, keys by rows, so that they leave the
// first products as what the second ones take; p and ds are rounded to T for these. Shared memory: k and v [64][D], two
// steps of q and d_o [4096 / D][D], and of each row's lse, delta, begin and end: 65 KiB for D = 128, 50 KiB for D = 64.
// One barrier a step. For a step of 32 rows and D = 128: 320 cycles of ldmatrix for 256 of mma.
// Blocks are in the order of their work where ranges are causal: first keys first.
#include "cuda/device/attention_tile.cuh"

namespace trireme::cuda {
namespace {

constexpr int kKeys = 64;
constexpr int kWarpKeys = 16;

template <int D>
struct DkvMemory {
  static constexpr int kStep = kAttentionStep<D>;
  struct Buffer {
    alignas(128) std::uint16_t q[kStep * D];
    alignas(128) std::uint16_t d_o[kStep * D];
    float lse[kStep];
    float delta[kStep];
    int begin[kStep];
    int end[kStep];
  };
  alignas(128) std::uint16_t k[kKeys * D];
  alignas(128) std::uint16_t v[kKeys * D];
  Buffer buffers[2];
};

// One warp's 16 keys.
template <class T, int D>
class DkvKeys {
 public:
  static constexpr int kStep = kAttentionStep<D>;
  using Step = typename RowWalk<kStep>::Step;
  using Buffer = typename DkvMemory<D>::Buffer;

  __device__ DkvKeys(const AttentionArguments& in, const DkvMemory<D>& memory, int first_key)
      : in_(in),
        memory_(memory),
        key_(static_cast<int>(threadIdx.x) / 32 * kWarpKeys),
        first_key_(first_key),
        to_exponent_(in.scale * kLog2E) {}

  __device__ void add(const Step& step, const Buffer& rows) {
    const int first = first_key_ + key_;
    const int last_row = min(kStep, step.end - step.row) - 1;
    if (first >= rows.end[last_row] || first + kWarpKeys <= rows.begin[0]) return;
    const bool all_attend = last_row == kStep - 1 && rows.begin[last_row] <= first && first + kWarpKeys <= rows.end[0];
    float p[kStep / 8][4] = {};
    float ds[kStep / 8][4] = {};
    multiply(p, shared_address(memory_.k), shared_address(rows.q));
    multiply(ds, shared_address(memory_.v), shared_address(rows.d_o));
    std::uint32_t kept[2] = {~0u, ~0u};
    if (in_.samples != nullptr) {
      const HeadDropout dropout(in_, step.head);
#pragma unroll
      for (int h = 0; h < 2; ++h)
        kept[h] = dropout.kept_rows<kStep / 8>(min(first + h * 8 + lane_row(), in_.all_keys - 1), step.row, step.end);
    }
#pragma unroll
    for (int n = 0; n < kStep / 8; ++n) {
      const int column = n * 8 + lane_column();
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float lse = rows.lse[column + e] * kLog2E;
        const float delta = rows.delta[column + e];
        const int begin = all_attend ? 0 : rows.begin[column + e];
        const int end = all_attend ? kNever : rows.end[column + e];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float& score = p[n][2 * h + e];
          float& slope = ds[n][2 * h + e];
          const int key = first + h * 8 + lane_row();
          const float probability = begin <= key && key < end ? exp2_hardware(fmaf(score, to_exponent_, -lse)) : 0;
          const bool is_kept = (kept[h] >> (2 * n + e) & 1) != 0;
          slope = probability * ((is_kept ? __fmul_rn(slope, in_.kept_factor) : 0) - delta);
          score = is_kept ? probability : 0;
        }
      }
    }
    multiply_rows(dv_, p, shared_address(rows.d_o));
    multiply_rows(dk_, ds, shared_address(rows.q));
  }

  // The tiles are k's and v's, of which the warp no longer needs its rows.
  __device__ void store(T* dk, T* dv, SharedAddress k, SharedAddress v) const {
    const int valid = in_.all_keys - first_key_;
    store_rows<T, D>(dk, in_.kv_stride(), valid, k, key_, dk_, in_.scale, in_.scale);
    store_rows<T, D>(dv, in_.kv_stride(), valid, v, key_, dv_, in_.kept_factor, in_.kept_factor);
  }

 private:
  using Scores = float[kStep / 8][4];

  // c [keys x rows of the step] += keys' rows of one tile times the step's rows of the other.
  __device__ void multiply(Scores& c, SharedAddress keys, SharedAddress rows) const {
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      const Fragment a = load_a<D>(keys, key_, d);
#pragma unroll
      for (int n = 0; n < kStep / 8; n += 2) {
        const Fragment b = load_b_of_rows<D>(rows, n * 8, d);
        multiply_add<T>(c[n], a, b.r[0], b.r[1]);
        multiply_add<T>(c[n + 1], a, b.r[2], b.r[3]);
      }
    }
  }
  // c [keys x D] += scores [keys x rows of the step] times these rows.
  __device__ static void multiply_rows(float (&c)[D / 8][4], const Scores& scores, SharedAddress rows) {
#pragma unroll
    for (int r = 0; r < kStep / 16; ++r) {
      const Fragment a = as_a<T>(scores, r);
#pragma unroll
      for (int n = 0; n < D / 8; n += 2) {
        const Fragment b = load_b_of_columns<D>(rows, r * 16, n * 8);
        multiply_add<T>(c[n], a, b.r[0], b.r[1]);
        multiply_add<T>(c[n + 1], a, b.r[2], b.r[3]);
      }
    }
  }

  const AttentionArguments& in_;
  const DkvMemory<D>& memory_;
  const int key_;  // of the block's
  const int first_key_;
  const float to_exponent_;
  float dk_[D / 8][4] = {};
  float dv_[D / 8][4] = {};
};

template <class T, int D>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attention_dkv_kernel(const __grid_constant__ AttentionArguments in, T* dkv, const T* dq, const T* d_o,
                         const float* lse) {
  constexpr int kStep = kAttentionStep<D>;
  extern __shared__ __align__(128) unsigned char bytes[];
  auto& memory = *reinterpret_cast<DkvMemory<D>*>(bytes);
  const int kv_head = static_cast<int>(blockIdx.x) % in.kv_heads;
  const int first_key = static_cast<int>(blockIdx.x) / in.kv_heads * kKeys;
  const int valid = min(kKeys, in.all_keys - first_key);

  const auto* kv = static_cast<const T*>(in.kv);
  copy_rows<D, kKeys, kAttentionThreads>(shared_address(memory.k), kv + in.k_at(first_key, kv_head), in.kv_stride(),
                                         valid);
  copy_rows<D, kKeys, kAttentionThreads>(shared_address(memory.v), kv + in.v_at(first_key, kv_head), in.kv_stride(),
                                         valid);
  const auto copy = [&](const auto& step, int buffer) {
    typename DkvMemory<D>::Buffer& to = memory.buffers[buffer];
    const int rows = step.end - step.row;
    const std::int64_t from = in.q_at(step.row, step.head);
    copy_rows<D, kStep, kAttentionThreads>(shared_address(to.q), static_cast<const T*>(in.q) + from, in.q_stride(),
                                           rows);
    copy_rows<D, kStep, kAttentionThreads>(shared_address(to.d_o), d_o + from, in.q_stride(), rows);
    if (const int i = static_cast<int>(threadIdx.x); i < kStep) {
      const int row = min(step.row + i, step.end - 1);
      copy_async<4>(shared_address(to.lse + i), lse + std::int64_t{row} * in.heads + step.head, i < rows);
      copy_async<4>(shared_address(to.delta + i), dq + in.q_at(row, step.head), i < rows);
      copy_async<4>(shared_address(to.begin + i), in.keys + 2 * std::int64_t{row}, i < rows);
      copy_async<4>(shared_address(to.end + i), in.keys + 2 * std::int64_t{row} + 1, i < rows);
    }
  };
  const int group = in.heads_per_kv();
  DkvKeys<T, D> keys(in, memory, first_key);
  take_steps(
      RowWalk<kStep>(Ranges(in.keys, in.rows), first_key, first_key + valid, kv_head * group, (kv_head + 1) * group),
      copy, [&](const auto& step, int buffer) { keys.add(step, memory.buffers[buffer]); });
  keys.store(dkv + in.k_at(first_key, kv_head), dkv + in.v_at(first_key, kv_head), shared_address(memory.k),
             shared_address(memory.v));
}

}  // namespace

void launch_attention_dkv(const Launch& launch, DType dtype, const AttentionArguments& in,
                          const AttentionGradients& out) {
  with_tensor_core_head(dtype, in.head_size, [&](auto type, auto head_size) {
    using T = typename decltype(type)::type;
    constexpr int D = decltype(head_size)::value;
    launch_attention(launch, attention_dkv_kernel<T, D>, parts(in.all_keys, kKeys) * in.kv_heads, sizeof(DkvMemory<D>),
                     in, static_cast<T*>(out.dkv), static_cast<const T*>(out.dq), static_cast<const T*>(out.d_o),
                     out.lse);
  });
}

}  // namespace trireme::cuda
