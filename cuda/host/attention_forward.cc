// Softmax without ever holding a row of scores: maxima and sums are carried from tile to tile and what was summed under
// an older maximum is scaled down. M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018; T. Dao
// et al., "FlashAttention", NeurIPS 2022.
#include "cuda/host/attention_islands.h"
#include "cuda/host/elements.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/attention_forward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/attention_tile.h"
#include "cuda/host/exp.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

// The running state of a tile's rows.
struct Softmax {
  alignas(64) float most[kTile];
  alignas(64) float sum[kTile];
  alignas(64) float shrink[kTile];  // of what was summed before this tile of keys
};

// scores [keys][kTile] become exp(s - max), dropped; the state goes on.
HWY_INLINE void step(Softmax& state, float* scores, const TileRows& rows, std::int64_t first, std::int64_t keys,
                     TileDropout& dropout) {
  const F32 d;
  const Vector none = set(-HUGE_VALF);
  const bool masked = !rows.all_attend(first, keys);
  for (std::int64_t at = 0; at < rows.n; at += lanes()) {
    const Vector before = hn::Load(d, state.most + at);
    Vector most = before;
    for (std::int64_t j = 0; j < keys; ++j) {
      float* place = scores + j * kTile + at;
      Vector s = hn::Load(d, place);
      if (masked) {
        s = hn::IfThenElse(rows.attend(at, first + j), s, none);
        hn::Store(s, d, place);
      }
      most = hn::Max(most, s);
    }
    // Of a row that attends to nothing yet, the maximum is -inf; exp(-inf - 0) is 0.
    const Vector base = hn::IfThenZeroElse(hn::Eq(most, none), most);
    const Vector shrink = exp(hn::Sub(before, base));
    Vector sum = hn::Mul(hn::Load(d, state.sum + at), shrink);
    if (dropout.active()) dropout.start(rows, at);
    for (std::int64_t j = 0; j < keys; ++j) {
      float* place = scores + j * kTile + at;
      Vector p = exp(hn::Sub(hn::Load(d, place), base));
      sum = hn::Add(sum, p);
      if (dropout.active()) p = hn::Mul(p, dropout.factor(first + j));
      hn::Store(p, d, place);
    }
    hn::Store(most, d, state.most + at);
    hn::Store(sum, d, state.sum + at);
    hn::Store(shrink, d, state.shrink + at);
  }
}

template <class T>
void forward_typed(const AttentionInputs& in, const Tensor& o, const Tensor& lse, const Island& island,
                   std::int64_t row, std::int64_t head) {
  static thread_local Scratch memory;
  const std::int64_t d = in.head_size();
  const std::int64_t padded = whole_vectors(d);
  const std::int64_t heads = in.heads();
  const std::int64_t kv_heads = in.kv_heads();
  const std::int64_t kv_head = head / in.heads_per_kv();
  float* scores = memory.get<float>(static_cast<std::size_t>(kTile * (kTile + d + 3 * padded)));  // [kTile][kTile]
  float* q_transposed = scores + kTile * kTile;                                                   // [D][kTile]
  float* k_copy = q_transposed + kTile * d;                                                       // [kTile][padded]
  float* v_copy = k_copy + kTile * padded;                                                        // [kTile][padded]
  float* sums = v_copy + kTile * padded;                                                          // [kTile][padded]

  const TileRows rows(in, row, std::min(kTile, island.row_end - row));
  TileDropout dropout(in, head);
  const Strided<T> q{as<T>(in.q) + (row * heads + head) * d, heads * d};
  transpose(q_transposed, rows_of(q, rows.n, d, k_copy), rows.n, d, in.scale);
  Softmax state;
  std::fill_n(state.most, kTile, -HUGE_VALF);
  std::fill_n(state.sum, kTile, 0.0f);
  std::fill_n(sums, kTile * padded, 0.0f);

  const std::int64_t kv_row = 2 * kv_heads * d;
  for (std::int64_t first = island.key + (rows.key - island.key) / kTile * kTile; first < rows.key_end;
       first += kTile) {
    const std::int64_t keys = std::min(kTile, rows.key_end - first);
    const T* k = as<T>(in.kv) + first * kv_row + kv_head * d;
    const TileB k_rows = rows_of(Strided<T>{k, kv_row}, keys, d, k_copy);
    const TileB v_rows = rows_of(Strided<T>{k + kv_heads * d, kv_row}, keys, d, v_copy);
    tile_gemm(keys, whole_vectors(rows.n), d, {k_rows.data, k_rows.row, 1}, {q_transposed, kTile}, scores, kTile,
              TileC::kOverwrite);
    step(state, scores, rows, first, keys, dropout);
    for (std::int64_t i = 0; i < rows.n; ++i) {
      const Vector shrink = set(state.shrink[i]);
      for (std::int64_t c = 0; c < padded; c += lanes()) {
        float* place = sums + i * padded + c;
        hn::StoreU(hn::Mul(hn::LoadU(F32(), place), shrink), F32(), place);
      }
    }
    tile_gemm(rows.n, padded, keys, {scores, 1, kTile}, v_rows, sums, padded, TileC::kAdd);
  }

  for (std::int64_t i = 0; i < rows.n; ++i) {
    const float sum = state.sum[i];
    const Vector inverse = set(sum > 0 ? 1 / sum : sum);  // no keys: 0; NaN stays
    map(
        d, [=](Vector v) HWY_ATTR { return hn::Mul(v, inverse); }, as<T>(o) + ((row + i) * heads + head) * d,
        sums + i * padded);
    as<float>(lse)[(row + i) * heads + head] = state.most[i] + std::log(sum);
  }
}

// One head of the rows of the island from `row` on, kTile at most.
void forward_tile(const AttentionInputs& in, const Tensor& o, const Tensor& lse, const Island& island, std::int64_t row,
                  std::int64_t head) {
  with_type(in.q.dtype,
            [&](auto type) { forward_typed<typename decltype(type)::type>(in, o, lse, island, row, head); });
}

std::int64_t attention_tile() { return kTile; }

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(forward_tile);
HWY_EXPORT(attention_tile);

void check_attention(const char* op, const AttentionInputs& in) {
  CHECK(in.q.shape.dims() == 3 && in.kv.shape.dims() == 4, op, ": q ", to_string(in.q.shape), ", kv ",
        to_string(in.kv.shape));
  check_operand(op, "kv", in.kv, in.q.dtype, {in.kv.size(0), 2, in.kv_heads(), in.head_size()});
  check_operand(op, "keys", in.keys, DType::kI32, {in.q.size(0), 2});
  CHECK(in.kv_heads() > 0 && in.heads() % in.kv_heads() == 0, op, ": ", in.heads(), " heads on ", in.kv_heads());
  if (in.dropout.probability <= 0) return;
  CHECK(in.q.size(0) == in.kv.size(0), op, ": dropout needs as many keys as rows");
  check_operand(op, "rows.sample", in.rows.sample, DType::kI64, {in.q.size(0)});
  check_operand(op, "rows.offset", in.rows.offset, DType::kI32, {in.q.size(0)});
}

void attention_forward(Stream stream, Tensor o, Tensor lse, Tensor q, Tensor kv, Tensor keys, float scale,
                       Dropout dropout, RowIds rows) {
  const AttentionInputs in{q, kv, keys, scale, dropout, rows};
  check_attention("attention_forward", in);
  check_operand("attention_forward", "o", o, q.dtype, q.shape);
  check_operand("attention_forward", "lse", lse, DType::kF32, {q.size(0), q.size(1)});
  enqueue(stream, [=](int threads) {
    struct Task {
      Island island;
      std::int64_t row;
    };
    std::vector<Task> tasks;
    const std::int64_t tile = HWY_DYNAMIC_DISPATCH(attention_tile)();
    for (const Island& island : find_islands(as<std::int32_t>(keys), q.size(0), kv.size(0)))
      for (std::int64_t row = island.row; row < island.row_end; row += tile) tasks.push_back({island, row});
    const std::int64_t heads = in.heads();
    // Neighbours share keys and values.
    parallel_tasks(threads, static_cast<std::int64_t>(tasks.size()) * heads, [&](std::int64_t i) {
      const Task& task = tasks[static_cast<std::size_t>(i) % tasks.size()];
      HWY_DYNAMIC_DISPATCH(forward_tile)
      (in, o, lse, task.island, task.row, i / static_cast<std::int64_t>(tasks.size()));
    });
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
