// Before any merge the text is cut into words by a regular expression out of tokenizer.json, which was written for
// Oniguruma. PCRE2 reads most of the same syntax but not all of it alike: \s matches U+180E under UCP, \h is a space
// here and a hex digit there, ^ and . differ. A pattern is therefore translated, and what the two engines read
// differently is refused by name instead of being split a little wrongly.
//
// Supported: literals, \s \S \d \p{..} \P{..} \r \n \t, classes, groups (?: (?i: (?> and look-around, alternation,
// quantifiers. Splitting is "isolated": matches are pieces, and so is the text between them.
//
// A SplitPattern is immutable; each thread matches through its own Scratch.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace trireme {

// The pattern that GPT-2 and Hugging Face's ByteLevel(use_regex = true) split with.
extern const char* const kGpt2SplitPattern;

class SplitPattern {
 public:
  // Throws UserError, naming the pattern and the place in it, if it is malformed or means something else in Oniguruma.
  explicit SplitPattern(const std::string& pattern);
  // Splits at every occurrence of a text.
  static SplitPattern literal(const std::string& text);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  const std::string& pattern() const { return pattern_; }

  // What one thread needs to match; works with any pattern.
  class Scratch {
   public:
    Scratch();
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();

   private:
    friend class SplitPattern;
    struct State;
    std::unique_ptr<State> state_;
  };

  // The next match in text[from..], as [start, stop); start == text.size() if there is none. `text` must be
  // well-formed UTF-8. Throws UserError if the pattern backtracks beyond PCRE2's limits on this text.
  struct Match {
    std::size_t start = 0;
    std::size_t stop = 0;
  };
  Match find(std::string_view text, std::size_t from, Scratch& scratch) const;

 private:
  SplitPattern(const std::string& pattern, const std::string& translated);
  std::string pattern_;
  struct Code;
  std::unique_ptr<Code> code_;
};

// Oniguruma's pattern in PCRE2's words; throws UserError as above. Exposed for tests.
std::string translate_split_pattern(std::string_view pattern);

}  // namespace trireme
