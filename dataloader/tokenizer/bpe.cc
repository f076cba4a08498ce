#include "dataloader/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "monitoring/check.h"

namespace trireme {
namespace {

constexpr std::size_t kShortPiece = 32;
constexpr std::uint32_t kEnd = ~std::uint32_t{0};

std::uint64_t pair_key(TokenId left, TokenId right) { return std::uint64_t{left} << 32 | right; }

std::uint64_t pair_hash(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;  // Fibonacci hashing: the high bits are the well-mixed ones
  return key ^ key >> 32;
}

}  // namespace

BpeModel::BpeModel(const std::array<TokenId, 256>& byte_ids, const std::vector<Merge>& merges) : byte_ids_(byte_ids) {
  CHECK(merges.size() < kNoRank, merges.size(), " merges");
  slots_.assign(std::bit_ceil(2 * merges.size() + 2), Slot{kNoPair, kNoRank, 0});
  mask_ = slots_.size() - 1;
  for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    std::uint64_t at = pair_hash(key) & mask_;
    while (slots_[at].pair != kNoPair && slots_[at].pair != key) at = (at + 1) & mask_;
    slots_[at] = {key, rank, merges[rank].result};
  }
}

const BpeModel::Slot* BpeModel::find(TokenId left, TokenId right) const {
  const std::uint64_t key = pair_key(left, right);
  for (std::uint64_t at = pair_hash(key) & mask_;; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.pair == key) return &slot;
    if (slot.pair == kNoPair) return nullptr;
  }
}

void BpeModel::encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const {
  if (piece.size() <= kShortPiece) {
    encode_short(piece, out);
  } else {
    encode_long(piece, scratch, out);
  }
}

void BpeModel::encode_short(std::string_view piece, std::vector<TokenId>& out) const {
  TokenId symbols[kShortPiece];
  std::uint32_t ranks[kShortPiece];  // of the pair (i, i + 1)
  TokenId results[kShortPiece];
  std::size_t count = piece.size();
  const auto look_up = [&](std::size_t i) {
    const Slot* slot = find(symbols[i], symbols[i + 1]);
    ranks[i] = slot != nullptr ? slot->rank : kNoRank;
    results[i] = slot != nullptr ? slot->result : 0;
  };
  for (std::size_t i = 0; i < count; ++i) symbols[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
  for (std::size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    const std::size_t best = std::min_element(ranks, ranks + count - 1) - ranks;
    if (ranks[best] == kNoRank) break;
    symbols[best] = results[best];
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    if (best + 2 < count) {
      std::copy(ranks + best + 2, ranks + count - 1, ranks + best + 1);
      std::copy(results + best + 2, results + count - 1, results + best + 1);
    }
    --count;
    if (best > 0) look_up(best - 1);
    if (best + 1 < count) look_up(best);
  }
  out.insert(out.end(), symbols, symbols + count);
}

void BpeModel::encode_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const {
  CHECK(piece.size() < kEnd, "a piece of ", piece.size(), " bytes");
  const auto count = static_cast<std::uint32_t>(piece.size());
  auto& symbols = scratch.symbols;
  auto& previous = scratch.previous;
  auto& next = scratch.next;
  auto& heap = scratch.heap;
  symbols.resize(count);
  previous.resize(count);
  next.resize(count);
  heap.clear();
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
    previous[i] = i == 0 ? kEnd : i - 1;
    next[i] = i + 1 == count ? kEnd : i + 1;
  }
  const auto entry = [](const Slot& slot, std::uint32_t i) { return std::uint64_t{slot.rank} << 32 | i; };
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    if (const Slot* slot = find(symbols[i], symbols[i + 1])) heap.push_back(entry(*slot, i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](std::uint32_t i) {
    if (const Slot* slot = find(symbols[i], symbols[next[i]])) {
      heap.push_back(entry(*slot, i));
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  };
  constexpr TokenId kGone = ~TokenId{0};  // merged into its left neighbour
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto rank = static_cast<std::uint32_t>(heap.back() >> 32);
    const auto i = static_cast<std::uint32_t>(heap.back());
    heap.pop_back();
    if (symbols[i] == kGone || next[i] == kEnd) continue;
    const std::uint32_t right = next[i];
    const Slot* slot = find(symbols[i], symbols[right]);
    if (slot == nullptr || slot->rank != rank) continue;  // the pair here has changed since
    symbols[i] = slot->result;
    symbols[right] = kGone;
    next[i] = next[right];
    if (next[i] != kEnd) {
      previous[next[i]] = i;
      push(i);
    }
    if (previous[i] != kEnd) push(previous[i]);
  }
  for (std::uint32_t i = 0; i != kEnd; i = next[i]) out.push_back(symbols[i]);
}

}  // namespace trireme
