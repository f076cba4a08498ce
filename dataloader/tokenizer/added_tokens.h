// Some tokens are not learned but declared: <|endoftext|>, chat markers, reserved names. They are cut out of the text
// before anything else looks at it, so that no merge can cross them.
//
// As in Hugging Face's tokenizers there are two rounds: tokens with normalized = false first, the others in what is
// left; in each the leftmost match wins, and of several there the longest. lstrip and rstrip let a token swallow the
// white space beside it. Immutable after construction; any number of threads may use one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

using TokenId = std::uint32_t;

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
  bool special = false;
};

// What a special token's name means when it stands in a text. A corpus is other people's text: there it is kPlainText,
// so that a page about <|endoftext|> does not end the document.
enum class SpecialTokens { kMatch, kPlainText };

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  // Tokens with empty content never match.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // A section is plain text (token == nullptr) or one added token. Sections cover the text in order; none is empty.
  struct Section {
    std::string_view text;
    const AddedToken* token = nullptr;
  };
  // Appends to `out` (cleared first). `text` need not be well-formed.
  void split(std::string_view text, SpecialTokens special, std::vector<Section>& out) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  // One round: the tokens that start with each byte, longest first.
  struct Round {
    std::array<std::vector<std::uint32_t>, 256> starting_with;
    bool empty = true;
  };
  void split_round(const Round& round, std::string_view text, SpecialTokens special, std::vector<Section>& out) const;

  std::vector<AddedToken> tokens_;
  Round raw_;
  Round normalized_;
};

}  // namespace trireme
