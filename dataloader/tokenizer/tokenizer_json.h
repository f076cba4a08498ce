// A tokenizer.json (Hugging Face tokenizers, version "1.0") describes a pipeline out of many interchangeable
// components. Reading one and ignoring what is not understood would train a model on ids that nobody else's tokenizer
// produces. So this reader knows the byte-level BPE family (GPT-2, Llama-3 and their like) and refuses everything else
// by name.
//
// Accepted: model BPE (merges as "a b" or ["a", "b"], ignore_merges; no dropout, prefix, suffix or byte_fallback; all
// 256 bytes in the vocabulary), normalizer null, pre_tokenizer ByteLevel or Sequence [Split(Isolated)..., ByteLevel],
// post_processor null, ByteLevel, TemplateProcessing or a Sequence of these, decoder ByteLevel, truncation and padding
// null.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataloader/tokenizer/added_tokens.h"
#include "dataloader/tokenizer/bpe.h"

namespace trireme {

struct SplitSpec {
  std::string pattern;
  bool regex = true;  // false: a literal text
};

// What a tokenizer.json says, checked: ids are below kMaxTokens, every merge's parts and result are in the vocabulary.
struct TokenizerSpec {
  std::vector<std::pair<std::string, TokenId>> vocabulary;  // in the byte alphabet, ordered by id
  std::vector<Merge> merges;
  bool ignore_merges = false;  // a piece that is in the vocabulary is that token, whatever the merges say
  std::vector<SplitSpec> splits;
  bool byte_level_regex = true;  // split with GPT-2's pattern after `splits`
  bool add_prefix_space = false;
  std::vector<AddedToken> added_tokens;
  std::vector<TokenId> prefix;  // what TemplateProcessing puts before and after a single text
  std::vector<TokenId> suffix;
};

inline constexpr std::size_t kMaxTokens = std::size_t{1} << 24;
inline constexpr std::size_t kMaxTokenizerJsonBytes = std::size_t{256} << 20;

// `name` is the file's name for messages. Throws UserError naming the component, and what is expected of it.
TokenizerSpec parse_tokenizer_json(std::string_view json, const std::string& name);

// The file's bytes; a function of the spec alone. Reads back as the same spec, here and in Hugging Face's library.
std::string write_tokenizer_json(const TokenizerSpec& spec);

}  // namespace trireme
