#include "dataloader/tokenizer/train.h"

#include <algorithm>
#include <numeric>
#include <queue>

#include "dataloader/tokenizer/byte_alphabet.h"
#include "dataloader/tokenizer/piece_splitter.h"
#include "dataloader/tokenizer/utf8.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

struct WordCounter::State {
  PieceSplitter splitter{TokenizerSpec{}};
  PieceSplitter::Scratch scratch;
  WordCounts counts;
  std::string key;
};

WordCounter::WordCounter() : state_(std::make_unique<State>()) {}
WordCounter::WordCounter(WordCounter&&) noexcept = default;
WordCounter& WordCounter::operator=(WordCounter&&) noexcept = default;
WordCounter::~WordCounter() = default;

void WordCounter::add(std::string_view text) {
  state_->splitter.split(text, state_->scratch, [&](std::string_view piece) {
    state_->key.assign(piece);
    ++state_->counts[state_->key];
  });
}

void WordCounter::merge(WordCounter&& other) {
  WordCounts& mine = state_->counts;
  WordCounts& theirs = other.state_->counts;
  if (mine.size() < theirs.size()) mine.swap(theirs);
  for (const auto& [word, count] : theirs) mine[word] += count;
  theirs.clear();
}

const WordCounts& WordCounter::counts() const { return state_->counts; }

namespace {

using Pair = std::uint64_t;  // left << 32 | right: ordered as (left, right)

Pair make_pair_key(TokenId left, TokenId right) { return Pair{left} << 32 | right; }

// A pair that may be merged, with its count when it was queued.
struct Candidate {
  std::int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// Words as symbols in one array, pair counts, and for each pair the words that may hold it. Counts are exact at all
// times; posting lists and the queue may be stale, and are checked when used.
class Trainer {
 public:
  Trainer(const WordCounts& words, TokenizerSpec& spec, std::size_t vocab_size) : spec_(spec), vocab_size_(vocab_size) {
    for (const auto& [token, id] : spec.vocabulary) id_of_.emplace(token, id);
    TokenId byte_id[256];
    for (int byte = 0; byte < 256; ++byte) {
      byte_id[byte] = id_of_.at(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
    }
    for (const auto& [text, count] : words) {
      CHECK(text.size() < ~std::uint32_t{0}, "a word of ", text.size(), " bytes");
      Word word{count, symbols_.size(), static_cast<std::uint32_t>(text.size())};
      for (const char byte : text) symbols_.push_back(byte_id[static_cast<unsigned char>(byte)]);
      words_.push_back(word);
    }
  }

  void run() {
    for (std::uint32_t w = 0; w < words_.size(); ++w) {
      const Word& word = words_[w];
      for (std::uint32_t i = 0; i + 1 < word.length; ++i) {
        const TokenId* s = &symbols_[word.start + i];
        change(make_pair_key(s[0], s[1]), word.count, w);
      }
    }
    for (const auto& [pair, entry] : pairs_) queue_.push({entry.count, pair});
    while (id_of_.size() < vocab_size_ && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      PairEntry& entry = pairs_[top.pair];
      if (entry.count != top.count) {
        if (entry.count > 0) queue_.push({entry.count, top.pair});
        continue;
      }
      if (top.count <= 0) break;
      merge(top.pair);
    }
  }

 private:
  struct Word {
    std::int64_t count;
    std::size_t start;  // in symbols_
    std::uint32_t length;
  };
  struct PairEntry {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // each at most once in a row
  };

  void change(Pair pair, std::int64_t by, std::uint32_t word) {
    PairEntry& entry = pairs_[pair];
    entry.count += by;
    if (by > 0) {
      if (entry.words.empty() || entry.words.back() != word) entry.words.push_back(word);
      touched_.push_back(pair);
    }
  }

  void merge(Pair pair) {
    const auto left = static_cast<TokenId>(pair >> 32);
    const auto right = static_cast<TokenId>(pair);
    const std::string token = spec_.vocabulary[left].first + spec_.vocabulary[right].first;
    const auto [known, fresh] = id_of_.emplace(token, static_cast<TokenId>(spec_.vocabulary.size()));
    const TokenId result = known->second;
    if (fresh) spec_.vocabulary.emplace_back(token, result);
    spec_.merges.push_back({left, right, result});

    std::vector<std::uint32_t> holders;
    holders.swap(pairs_[pair].words);
    touched_.clear();
    for (const std::uint32_t w : holders) merge_in_word(w, left, right, result);
    pairs_.erase(pair);
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (const Pair changed : touched_) {
      const auto found = pairs_.find(changed);
      if (found != pairs_.end() && found->second.count > 0) queue_.push({found->second.count, changed});
    }
  }

  // Replaces each (left, right), from left to right, and moves the counts of the pairs around it.
  void merge_in_word(std::uint32_t w, TokenId left, TokenId right, TokenId result) {
    Word& word = words_[w];
    TokenId* s = &symbols_[word.start];
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < word.length;) {
      if (i + 1 == word.length || s[i] != left || s[i + 1] != right) {
        s[kept++] = s[i++];
        continue;
      }
      change(make_pair_key(left, right), -word.count, w);
      if (kept > 0) {
        change(make_pair_key(s[kept - 1], left), -word.count, w);
        change(make_pair_key(s[kept - 1], result), word.count, w);
      }
      if (i + 2 < word.length) {
        change(make_pair_key(right, s[i + 2]), -word.count, w);
        change(make_pair_key(result, s[i + 2]), word.count, w);
      }
      s[kept++] = result;
      i += 2;
    }
    word.length = kept;
  }

  TokenizerSpec& spec_;
  std::size_t vocab_size_;
  std::unordered_map<std::string, TokenId> id_of_;
  std::vector<TokenId> symbols_;
  std::vector<Word> words_;
  std::unordered_map<Pair, PairEntry> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> touched_;  // pairs that have become more frequent in this merge
};

}  // namespace

TokenizerSpec train_bpe(const WordCounts& words, const BpeTraining& training) {
  const auto least = static_cast<std::int64_t>(256 + training.special_tokens.size());
  if (training.vocab_size < least || training.vocab_size > static_cast<std::int64_t>(kMaxTokens)) {
    throw UserError("a vocabulary of " + std::to_string(training.vocab_size) +
                    " tokens was asked for; it must have from " + std::to_string(least) + " (256 bytes and " +
                    std::to_string(training.special_tokens.size()) + " special tokens) to " +
                    std::to_string(kMaxTokens));
  }
  TokenizerSpec spec;
  for (const std::string& special : training.special_tokens) {
    const auto id = static_cast<TokenId>(spec.vocabulary.size());
    spec.vocabulary.emplace_back(special, id);
    spec.added_tokens.push_back({id, special, false, false, false, true});
  }
  std::vector<std::uint32_t> characters(256);
  for (int byte = 0; byte < 256; ++byte) characters[byte] = byte_character(static_cast<std::uint8_t>(byte));
  std::sort(characters.begin(), characters.end());
  for (const std::uint32_t character : characters) {
    std::string token;
    append_utf8(character, token);
    spec.vocabulary.emplace_back(token, static_cast<TokenId>(spec.vocabulary.size()));
  }
  Trainer(words, spec, static_cast<std::size_t>(training.vocab_size)).run();
  return spec;
}

}  // namespace trireme
