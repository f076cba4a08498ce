// The definitions of byte-pair encoding and of its training, written as slowly as they are stated, to hold the real
// ones against. Shares nothing with them but the plain data of a TokenizerSpec.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataloader/tokenizer/tokenizer_json.h"

namespace trireme::naive {

using Symbols = std::vector<TokenId>;

// The single bytes' tokens, by GPT-2's rule spelled out again.
inline std::map<unsigned char, TokenId> byte_tokens(const TokenizerSpec& spec) {
  std::map<std::string, TokenId> id_of(spec.vocabulary.begin(), spec.vocabulary.end());
  std::map<unsigned char, TokenId> tokens;
  int stand_ins = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    const int character = printable ? byte : 0x100 + stand_ins++;
    std::string written;
    if (character < 0x80) {
      written = static_cast<char>(character);
    } else {
      written = {static_cast<char>(0xC0 | character >> 6), static_cast<char>(0x80 | (character & 0x3F))};
    }
    tokens[static_cast<unsigned char>(byte)] = id_of.at(written);
  }
  return tokens;
}

inline Symbols replace(const Symbols& word, TokenId left, TokenId right, TokenId result) {
  Symbols out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (i + 1 < word.size() && word[i] == left && word[i + 1] == right) {
      out.push_back(result);
      ++i;
    } else {
      out.push_back(word[i]);
    }
  }
  return out;
}

// One merge at a time: the lowest rank, the leftmost place.
inline Symbols encode(const TokenizerSpec& spec, const std::string& piece) {
  const auto bytes = byte_tokens(spec);
  Symbols word;
  for (const char byte : piece) word.push_back(bytes.at(static_cast<unsigned char>(byte)));
  while (true) {
    std::size_t best_rank = spec.merges.size(), best_place = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      for (std::size_t rank = 0; rank < best_rank; ++rank) {
        if (spec.merges[rank].left == word[i] && spec.merges[rank].right == word[i + 1]) {
          best_rank = rank;
          best_place = i;
        }
      }
    }
    if (best_rank == spec.merges.size()) return word;
    word[best_place] = spec.merges[best_rank].result;
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(best_place) + 1);
  }
}

// Counts every pair of every word anew for each merge.
inline void train(const std::map<std::string, std::int64_t>& words, std::size_t vocab_size, TokenizerSpec& spec) {
  const auto bytes = byte_tokens(spec);
  std::vector<std::pair<Symbols, std::int64_t>> texts;
  for (const auto& [text, count] : words) {
    Symbols word;
    for (const char byte : text) word.push_back(bytes.at(static_cast<unsigned char>(byte)));
    texts.emplace_back(word, count);
  }
  std::map<std::string, TokenId> id_of(spec.vocabulary.begin(), spec.vocabulary.end());
  while (id_of.size() < vocab_size) {
    std::map<std::pair<TokenId, TokenId>, std::int64_t> counts;
    for (const auto& [word, count] : texts) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) counts[{word[i], word[i + 1]}] += count;
    }
    if (counts.empty()) return;
    auto best = counts.begin();
    for (auto it = counts.begin(); it != counts.end(); ++it) {
      if (it->second > best->second) best = it;
    }
    const auto [left, right] = best->first;
    const std::string token = spec.vocabulary[left].first + spec.vocabulary[right].first;
    const auto result = id_of.emplace(token, static_cast<TokenId>(id_of.size())).first->second;
    if (result == spec.vocabulary.size()) spec.vocabulary.emplace_back(token, result);
    spec.merges.push_back({left, right, result});
    for (auto& [word, count] : texts) word = replace(word, left, right, result);
  }
}

}  // namespace trireme::naive
