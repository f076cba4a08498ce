// Scores are computed again from q, k and the saved lse. With p = exp(s - lse), f what dropout multiplies by and
// delta = sum_d d_o o:  dv += (p f)^T d_o;  ds = p (f (d_o v^T) - delta);  dq = scale ds k;  dk += scale ds^T q.
// T. Dao et al., "FlashAttention", NeurIPS 2022, appendix B.
#include "cuda/host/attention_islands.h"
#include "cuda/host/elements.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/attention_backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/attention_tile.h"
#include "cuda/host/exp.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

// s and dp [keys][kTile] become p f and ds.
HWY_INLINE void differentiate(float* s, float* dp, const float* lse, const float* delta, const TileRows& rows,
                              std::int64_t first, std::int64_t keys, TileDropout& dropout) {
  const F32 d;
  const bool masked = !rows.all_attend(first, keys);
  for (std::int64_t at = 0; at < rows.n; at += lanes()) {
    const Vector total = hn::Load(d, lse + at);
    const Vector mean = hn::Load(d, delta + at);
    if (dropout.active()) dropout.start(rows, at);
    for (std::int64_t j = 0; j < keys; ++j) {
      Vector p = exp(hn::Sub(hn::Load(d, s + j * kTile + at), total));
      if (masked) p = hn::IfThenElseZero(rows.attend(at, first + j), p);
      Vector g = hn::Load(d, dp + j * kTile + at);
      Vector kept = p;
      if (dropout.active()) {
        const Vector factor = dropout.factor(first + j);
        kept = hn::Mul(p, factor);
        g = hn::Mul(g, factor);
      }
      hn::Store(kept, d, s + j * kTile + at);
      hn::Store(hn::Mul(p, hn::Sub(g, mean)), d, dp + j * kTile + at);
    }
  }
}

// The buffers of one task, cut from one piece of memory.
struct BackwardScratch {
  float* scores;         // [kTile][kTile]
  float* slopes;         // [kTile][kTile]
  float* q_transposed;   // [D][kTile]
  float* do_transposed;  // [D][kTile]
  float* q_copy;         // [kTile][padded], and so the next ones
  float* do_copy;
  float* o_copy;
  float* k_copy;
  float* v_copy;
  float* dq;
  float* dk;  // [keys of the island][padded]
  float* dv;

  BackwardScratch(std::int64_t d, std::int64_t padded, std::int64_t keys) {
    static thread_local Scratch memory;
    const std::int64_t tile = kTile * padded;
    float* next =
        memory.get<float>(static_cast<std::size_t>(2 * kTile * kTile + 2 * kTile * d + 6 * tile + 2 * keys * padded));
    const auto take = [&](std::int64_t count) { return std::exchange(next, next + count); };
    scores = take(kTile * kTile);
    slopes = take(kTile * kTile);
    q_transposed = take(kTile * d);
    do_transposed = take(kTile * d);
    for (float** copy : {&q_copy, &do_copy, &o_copy, &k_copy, &v_copy, &dq}) *copy = take(tile);
    dk = take(keys * padded);
    dv = take(keys * padded);
  }
};

template <class T>
class BackwardIsland {
 public:
  BackwardIsland(const AttentionInputs& in, const AttentionGradients& out, const Island& island, std::int64_t kv_head)
      : in_(in),
        out_(out),
        island_(island),
        kv_head_(kv_head),
        d_(in.head_size()),
        padded_(whole_vectors(d_)),
        kv_row_(2 * in.kv_heads() * d_),
        keys_(island.key_end - island.key),
        own_(d_, padded_, keys_) {}

  void run() {
    std::fill_n(own_.dk, 2 * keys_ * padded_, 0.0f);
    const std::int64_t group = in_.heads_per_kv();
    for (std::int64_t head = kv_head_ * group; head < (kv_head_ + 1) * group; ++head)
      for (std::int64_t row = island_.row; row < island_.row_end; row += kTile) add_rows(row, head);
    T* dkv = as<T>(out_.dkv) + island_.key * kv_row_ + kv_head_ * d_;
    for (std::int64_t j = 0; j < keys_; ++j) {
      scaled(dkv + j * kv_row_, own_.dk + j * padded_, in_.scale);
      scaled(dkv + j * kv_row_ + kv_row_ / 2, own_.dv + j * padded_, 1);
    }
  }

 private:
  void scaled(T* to, const float* from, float factor) const {
    const Vector by = set(factor);
    map(
        d_, [=](Vector v) HWY_ATTR { return hn::Mul(v, by); }, to, from);
  }

  void add_rows(std::int64_t row, std::int64_t head) {
    const std::int64_t heads = in_.heads();
    const TileRows rows(in_, row, std::min(kTile, island_.row_end - row));
    TileDropout dropout(in_, head);
    const std::int64_t start = (row * heads + head) * d_;
    const auto tile_rows = [&](const Tensor& tensor, float* copy) {
      return rows_of(Strided<T>{as<T>(tensor) + start, heads * d_}, rows.n, d_, copy);
    };
    const TileB q = tile_rows(in_.q, own_.q_copy);
    const TileB d_o = tile_rows(out_.d_o, own_.do_copy);
    const TileB o = tile_rows(out_.o, own_.o_copy);
    transpose(own_.q_transposed, q, rows.n, d_, in_.scale);
    transpose(own_.do_transposed, d_o, rows.n, d_, 1);
    alignas(64) float lse[kTile] = {};
    alignas(64) float delta[kTile] = {};
    for (std::int64_t i = 0; i < rows.n; ++i) {
      lse[i] = as<float>(out_.lse)[(row + i) * heads + head];
      delta[i] = sum(
          d_, [](Vector a, Vector b) HWY_ATTR { return hn::Mul(a, b); }, d_o.data + i * d_o.row, o.data + i * o.row);
    }
    std::fill_n(own_.dq, kTile * padded_, 0.0f);

    for (std::int64_t first = rows.key; first < rows.key_end; first += kTile) {
      const std::int64_t keys = std::min(kTile, rows.key_end - first);
      const T* at = as<T>(in_.kv) + first * kv_row_ + kv_head_ * d_;
      const TileB k = rows_of(Strided<T>{at, kv_row_}, keys, d_, own_.k_copy);
      const TileB v = rows_of(Strided<T>{at + kv_row_ / 2, kv_row_}, keys, d_, own_.v_copy);
      const std::int64_t width = whole_vectors(rows.n);
      tile_gemm(keys, width, d_, {k.data, k.row, 1}, {own_.q_transposed, kTile}, own_.scores, kTile, TileC::kOverwrite);
      tile_gemm(keys, width, d_, {v.data, v.row, 1}, {own_.do_transposed, kTile}, own_.slopes, kTile,
                TileC::kOverwrite);
      differentiate(own_.scores, own_.slopes, lse, delta, rows, first, keys, dropout);
      const std::int64_t place = (first - island_.key) * padded_;
      tile_gemm(keys, padded_, rows.n, {own_.scores, kTile, 1}, d_o, own_.dv + place, padded_, TileC::kAdd);
      tile_gemm(keys, padded_, rows.n, {own_.slopes, kTile, 1}, q, own_.dk + place, padded_, TileC::kAdd);
      tile_gemm(rows.n, padded_, keys, {own_.slopes, 1, kTile}, k, own_.dq, padded_, TileC::kAdd);
    }
    for (std::int64_t i = 0; i < rows.n; ++i)
      scaled(as<T>(out_.dq) + start + i * heads * d_, own_.dq + i * padded_, in_.scale);
  }

  const AttentionInputs& in_;
  const AttentionGradients& out_;
  const Island& island_;
  const std::int64_t kv_head_;
  const std::int64_t d_;
  const std::int64_t padded_;
  const std::int64_t kv_row_;
  const std::int64_t keys_;
  BackwardScratch own_;
};

void backward_island(const AttentionInputs& in, const AttentionGradients& out, const Island& island,
                     std::int64_t kv_head) {
  with_type(in.q.dtype,
            [&](auto type) { BackwardIsland<typename decltype(type)::type>(in, out, island, kv_head).run(); });
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(backward_island);

namespace {

// Keys that nobody attends to.
void clear_between(const std::vector<Island>& islands, const Tensor& dkv) {
  const std::size_t row_bytes = dkv.size(0) == 0 ? 0 : dkv.bytes() / static_cast<std::size_t>(dkv.size(0));
  std::int64_t done = 0;
  const auto clear_to = [&](std::int64_t key) {
    if (key > done)
      std::memset(dkv.data + static_cast<std::size_t>(done) * row_bytes, 0,
                  static_cast<std::size_t>(key - done) * row_bytes);
  };
  for (const Island& island : islands) {
    clear_to(island.key);
    done = island.key_end;
  }
  clear_to(dkv.size(0));
}

}  // namespace

void attention_backward(Stream stream, Tensor dq, Tensor dkv, Tensor d_o, Tensor o, Tensor lse, Tensor q, Tensor kv,
                        Tensor keys, float scale, Dropout dropout, RowIds rows) {
  const char* op = "attention_backward";
  const AttentionInputs in{q, kv, keys, scale, dropout, rows};
  const AttentionGradients out{dq, dkv, d_o, o, lse};
  check_attention(op, in);
  check_operand(op, "dq", dq, q.dtype, q.shape);
  check_operand(op, "dkv", dkv, q.dtype, kv.shape);
  check_operand(op, "d_o", d_o, q.dtype, q.shape);
  check_operand(op, "o", o, q.dtype, q.shape);
  check_operand(op, "lse", lse, DType::kF32, {q.size(0), q.size(1)});
  enqueue(stream, [=](int threads) {
    const std::vector<Island> islands = find_islands(as<std::int32_t>(keys), q.size(0), kv.size(0));
    const auto count = static_cast<std::int64_t>(islands.size());
    parallel_tasks(threads, count * in.kv_heads(), [&](std::int64_t i) {
      HWY_DYNAMIC_DISPATCH(backward_island)(in, out, islands[static_cast<std::size_t>(i % count)], i / count);
    });
    clear_between(islands, dkv);
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
