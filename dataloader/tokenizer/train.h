// A vocabulary is learned from the text that it will encode: from bytes upward, the adjacent pair of tokens that occurs
// most often becomes a token, until there are enough. Text is cut by GPT-2's pattern first, and each distinct word is
// kept once with its count, so that the work depends on the number of distinct words and not on the length of the
// corpus.
//
// The result is a function of the multiset of words: threads, and the order in which they count, do not matter. Of
// pairs that are equally frequent the one with the smaller (left id, right id) is merged. Counts have 64 bits. These
// are the rules of Hugging Face's BpeTrainer (ids: special tokens, the 256 byte characters by code point, then merges),
// so that the same words give the same tokenizer there.
//
// A WordCounter belongs to one thread; merge() sums two.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataloader/tokenizer/tokenizer_json.h"

namespace trireme {

using WordCounts = std::unordered_map<std::string, std::int64_t>;

class WordCounter {
 public:
  WordCounter();
  WordCounter(WordCounter&&) noexcept;
  WordCounter& operator=(WordCounter&&) noexcept;
  ~WordCounter();

  void add(std::string_view text);
  void merge(WordCounter&& other);
  const WordCounts& counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct BpeTraining {
  std::int64_t vocab_size = 0;  // special tokens and bytes included
  std::vector<std::string> special_tokens = {"<|endoftext|>"};
};

// A GPT-2-style tokenizer with at most vocab_size tokens: fewer if every word has become one token.
// Throws UserError if vocab_size has no room for the bytes and special tokens, or is above kMaxTokens.
TokenizerSpec train_bpe(const WordCounts& words, const BpeTraining& training);

}  // namespace trireme
