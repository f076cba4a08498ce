// Byte-pair encoding of one piece of text: starting from its bytes, the adjacent pair with the lowest rank is merged,
// the leftmost of equals first, until no pair is in the list. That is Hugging Face's merge-list rule; encoding by token
// rank (as tiktoken does) differs from it on about 0.0002% of Llama-3's tokens.
//
// Short pieces, nearly all of them, are scanned again after each merge; longer ones go through a heap, so that a piece
// of n bytes costs O(n log n) and a file without spaces does not stop the program.
//
// Immutable after construction; each thread encodes through its own Scratch.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "dataloader/tokenizer/added_tokens.h"

namespace trireme {

// Its rank is its place in the list.
struct Merge {
  TokenId left = 0;
  TokenId right = 0;
  TokenId result = 0;
  bool operator==(const Merge&) const = default;
};

class BpeModel {
 public:
  // byte_ids: the token of each single byte. Of two merges of the same pair the later one counts.
  BpeModel(const std::array<TokenId, 256>& byte_ids, const std::vector<Merge>& merges);

  struct Scratch {
    std::vector<TokenId> symbols;
    std::vector<std::uint32_t> previous;
    std::vector<std::uint32_t> next;
    std::vector<std::uint64_t> heap;  // rank << 32 | position
  };

  // Appends the piece's tokens to `out`. A piece has fewer than 2^32 bytes.
  void encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const;

 private:
  struct Slot {
    std::uint64_t pair;  // left << 32 | right, or kNoPair
    std::uint32_t rank;
    TokenId result;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};
  static constexpr std::uint32_t kNoRank = ~std::uint32_t{0};

  const Slot* find(TokenId left, TokenId right) const;
  void encode_short(std::string_view piece, std::vector<TokenId>& out) const;
  void encode_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& out) const;

  std::array<TokenId, 256> byte_ids_;
  std::vector<Slot> slots_;  // open addressing; at most half full
  std::uint64_t mask_ = 0;
};

}  // namespace trireme
