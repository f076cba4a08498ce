// A language model sees ids, people see text, and everybody who uses the model must agree on the map between them. A
// Tokenizer is that map, as a tokenizer.json defines it: Hugging Face's library gives the same ids for the same text.
//
// Text that is not UTF-8 cannot be given to that library. Here each run of bytes that belongs to no well-formed
// sequence is a piece of its own, encoded byte by byte with the same merges, so that decode(encode(x)) == x for every x
// (unless the tokenizer itself drops or adds text: add_prefix_space, lstrip, rstrip).
//
// A Tokenizer is immutable and cheap to copy (copies share). Encoding needs scratch space and profits from a cache of
// pieces: both live in an Encoder, of which each thread owns one. Encoders share nothing that is written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/tokenizer/added_tokens.h"

namespace trireme {

struct TokenizerSpec;

class Tokenizer {
 public:
  // Reads a tokenizer.json. Throws UserError naming the file and what in it is malformed or not supported.
  static Tokenizer load(const std::filesystem::path& path);
  // The same from the file's bytes; `name` stands for the file in messages.
  static Tokenizer parse(std::string_view json, const std::string& name);
  explicit Tokenizer(const TokenizerSpec& spec);

  // One id more than the largest: the rows that an embedding needs.
  std::int64_t vocab_size() const;

  // The ids of `text`, without what the template adds around it. For more than a few texts use an Encoder.
  std::vector<TokenId> encode(std::string_view text, SpecialTokens special = SpecialTokens::kMatch) const;

  // The bytes behind the ids, added tokens included. Throws UserError on an id that has no token.
  std::string decode(std::span<const TokenId> ids) const;
  // The bytes of one id: a piece of decode's result, not always whole characters.
  std::string_view bytes(TokenId id) const;

  // The id of an added token, by its content.
  std::optional<TokenId> added_token(std::string_view content) const;
  bool is_special(TokenId id) const;
  // The token that ends a document, by its customary names: <|endoftext|>, <|end_of_text|>, </s>, <eos>, <|eos|>.
  std::optional<TokenId> end_of_document() const;
  // What the tokenizer's template puts before and after a text, such as Llama-3's <|begin_of_text|>.
  std::span<const TokenId> prefix() const;
  std::span<const TokenId> suffix() const;

 private:
  friend class Encoder;
  struct Parts;
  std::shared_ptr<const Parts> parts_;
};

class Encoder {
 public:
  explicit Encoder(Tokenizer tokenizer);
  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;
  ~Encoder();

  // Appends the ids of `text` to `out`. A function of the text alone: the cache changes the time only.
  // Throws UserError if a splitting pattern exceeds its limits on this text.
  void encode(std::string_view text, SpecialTokens special, std::vector<TokenId>& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
