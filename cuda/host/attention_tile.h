// A tile of attention is kTile rows of one head against kTile keys. Scores lie transposed, [key][row]: lanes are rows,
// so that maxima and sums over keys need no sums across lanes, and a row does not see its neighbours. Once for each
// instruction set (as cuda/host/simd.h).
#if defined(TRIREME_CUDA_HOST_ATTENTION_TILE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_CUDA_HOST_ATTENTION_TILE_H_
#undef TRIREME_CUDA_HOST_ATTENTION_TILE_H_
#else
#define TRIREME_CUDA_HOST_ATTENTION_TILE_H_
#endif

#include <utility>

#include "cuda/core/philox.h"
#include "cuda/host/attention.h"
#include "cuda/host/scratch.h"
#include "cuda/host/tile_gemm.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

constexpr std::int64_t kTile = 64;  // a multiple of every vector

HWY_INLINE std::int64_t whole_vectors(std::int64_t n) { return (n + lanes() - 1) / lanes() * lanes(); }

// Rows of D numbers of type T, `row` of them apart.
template <class T>
struct Strided {
  const T* data;
  std::int64_t row;
};

template <class T>
HWY_INLINE void widen_row(float* to, const T* from, std::int64_t n) {
  map(
      n, [](Vector v) HWY_ATTR { return v; }, to, from);
}

// n rows of d numbers as fp32 rows of whole vectors, zeros at the end: where they lie, or copied to `copy`.
template <class T>
HWY_INLINE TileB rows_of(Strided<T> from, std::int64_t n, std::int64_t d, float* copy) {
  const std::int64_t padded = whole_vectors(d);
  if constexpr (std::is_same_v<T, float>)
    if (padded == d) return {from.data, from.row};
  for (std::int64_t i = 0; i < n; ++i) {
    widen_row(copy + i * padded, from.data + i * from.row, d);
    std::fill(copy + i * padded + d, copy + (i + 1) * padded, 0.0f);
  }
  return {copy, padded};
}

// to [d][kTile] = factor times the rows, transposed; zeros after the n-th.
HWY_INLINE void transpose(float* to, TileB rows, std::int64_t n, std::int64_t d, float factor) {
  for (std::int64_t c = 0; c < d; ++c) {
    for (std::int64_t i = 0; i < n; ++i) to[c * kTile + i] = factor * rows.data[i * rows.row + c];
    for (std::int64_t i = n; i < kTile; ++i) to[c * kTile + i] = 0;
  }
}

// What the rows of a tile attend to, and what draws their dropout.
struct TileRows {
  alignas(64) std::int32_t begin[kTile];
  alignas(64) std::int32_t end[kTile];
  alignas(64) std::uint32_t sample_low[kTile];
  alignas(64) std::uint32_t sample_high[kTile];
  alignas(64) std::uint32_t offset[kTile];
  std::int64_t n;    // rows
  std::int64_t key;  // [key, key_end): all they attend to
  std::int64_t key_end;

  TileRows(const AttentionInputs& in, std::int64_t row, std::int64_t rows) : n(rows) {
    const auto* keys = as<std::int32_t>(in.keys);
    key = keys[2 * row];
    key_end = keys[2 * (row + rows - 1) + 1];
    for (std::int64_t i = 0; i < kTile; ++i) {
      begin[i] = i < n ? keys[2 * (row + i)] : 0;
      end[i] = i < n ? keys[2 * (row + i) + 1] : 0;
      if (in.dropout.probability <= 0) continue;
      const std::int64_t from = row + std::min(i, n - 1);
      const auto sample = static_cast<std::uint64_t>(as<std::int64_t>(in.rows.sample)[from]);
      sample_low[i] = static_cast<std::uint32_t>(sample);
      sample_high[i] = static_cast<std::uint32_t>(sample >> 32);
      offset[i] = static_cast<std::uint32_t>(as<std::int32_t>(in.rows.offset)[from]);
    }
  }
  // Whether all rows attend to all of these keys.
  bool all_attend(std::int64_t first, std::int64_t keys) const {
    return n == kTile && begin[n - 1] <= first && first + keys <= end[0];
  }
  // Lanes of rows at..at + lanes() that attend to the key.
  HWY_INLINE auto attend(std::int64_t at, std::int64_t one_key) const {
    const I32 d;
    const auto k = hn::Set(d, static_cast<std::int32_t>(one_key));
    return hn::RebindMask(F32(), hn::AndNot(hn::Gt(hn::Load(d, begin + at), k), hn::Gt(hn::Load(d, end + at), k)));
  }
};

// Draws what lanes of rows keep, key after key. Keys of neighbouring offsets share a block of Philox.
class TileDropout {
 public:
  TileDropout(const AttentionInputs& in, std::int64_t head)
      : in_(in),
        key_(key_of_head(in.dropout.key, static_cast<std::uint32_t>(in.dropout.first_head + head))),
        threshold_(drop_threshold(in.dropout.probability)),
        scale_(static_cast<float>(1.0 / (1.0 - static_cast<double>(in.dropout.probability)))) {}

  bool active() const { return in_.dropout.probability > 0; }
  float scale() const { return scale_; }
  void start(const TileRows& rows, std::int64_t at) {
    rows_ = &rows;
    at_ = at;
    block_ = -1;
  }
  // 1 / (1 - p) in lanes that keep the key, 0 in the others.
  HWY_INLINE Vector factor(std::int64_t one_key) {
    const auto offset = static_cast<std::uint32_t>(as<std::int32_t>(in_.rows.offset)[one_key]);
    if (block_ != static_cast<std::int64_t>(offset / 4)) draw(offset / 4);
    const U32 d;
    const auto word = hn::Load(d, words_ + (offset % 4) * kMaxLanes);
    const auto dropped = hn::RebindMask(F32(), hn::Lt(word, hn::Set(d, threshold_)));
    return hn::IfThenZeroElse(dropped, set(scale_));
  }

 private:
  static constexpr std::size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);
  void draw(std::uint32_t block);

  const AttentionInputs& in_;
  const std::uint64_t key_;
  const std::uint32_t threshold_;
  const float scale_;
  const TileRows* rows_ = nullptr;
  std::int64_t at_ = 0;
  std::int64_t block_ = -1;
  alignas(64) std::uint32_t words_[4 * kMaxLanes];
};

inline void TileDropout::draw(std::uint32_t block) {
  block_ = block;
#if HWY_TARGET == HWY_SCALAR
  const PhiloxBlock drawn = philox(key_, rows_->sample_low[at_], rows_->sample_high[at_], rows_->offset[at_], block);
  for (std::size_t lane = 0; lane < 4; ++lane) words_[lane * kMaxLanes] = drawn.lane[lane];
#else
  const U32 d;
  const hn::RepartitionToWide<U32> wide;
  using Bits = hn::Vec<U32>;
  // Both halves of the 64-bit products of the lanes with a constant.
  const auto multiply = [&](Bits a, std::uint32_t by) HWY_ATTR {
    const auto even = hn::MulEven(a, hn::Set(d, by));
    const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), hn::Set(d, by));
    return std::pair{hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even)),
                     hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)))};
  };
  auto k0 = static_cast<std::uint32_t>(key_);
  auto k1 = static_cast<std::uint32_t>(key_ >> 32);
  Bits x0 = hn::Load(d, rows_->sample_low + at_);
  Bits x1 = hn::Load(d, rows_->sample_high + at_);
  Bits x2 = hn::Load(d, rows_->offset + at_);
  Bits x3 = hn::Set(d, block);
  for (int round = 0; round < 10; ++round) {
    const auto [low0, high0] = multiply(x0, 0xD2511F53u);
    const auto [low1, high1] = multiply(x2, 0xCD9E8D57u);
    x0 = hn::Xor(hn::Xor(high1, x1), hn::Set(d, k0));
    x2 = hn::Xor(hn::Xor(high0, x3), hn::Set(d, k1));
    x1 = low1;
    x3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  hn::Store(x0, d, words_);
  hn::Store(x1, d, words_ + kMaxLanes);
  hn::Store(x2, d, words_ + 2 * kMaxLanes);
  hn::Store(x3, d, words_ + 3 * kMaxLanes);
#endif
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
