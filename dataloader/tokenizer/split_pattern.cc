#include "dataloader/tokenizer/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <cctype>

#include <pcre2.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

const char* const kGpt2SplitPattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

constexpr std::size_t kMaxPatternBytes = 16384;
constexpr std::size_t kJitStackBytes = std::size_t{1} << 20;
constexpr std::uint32_t kHeapKibibytes = 256 * 1024;  // for what overflows that

// Unicode's White_Space, to stand inside a class. PCRE2 10.42's own \s also has U+180E.
constexpr std::string_view kWhiteSpace =
    R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_character(c);
      } else {
        character(c);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UserError("split pattern '" + std::string(pattern_) + "', byte " + std::to_string(at_) + ": " + what +
                    "; write the pattern without it");
  }

  void copy(std::size_t bytes) {
    out_ += pattern_.substr(at_, bytes);
    at_ += bytes;
  }

  void escape() {
    if (at_ + 1 == pattern_.size()) refuse("a backslash escapes nothing");
    const char c = pattern_[at_ + 1];
    if (c == 's') {
      out_ += in_class_ ? std::string(kWhiteSpace) : "[" + std::string(kWhiteSpace) + "]";
      at_ += 2;
    } else if (c == 'S' && !in_class_) {
      out_ += "[^" + std::string(kWhiteSpace) + "]";
      at_ += 2;
    } else if (c == 'p' || c == 'P') {
      const std::size_t close = pattern_.find('}', at_);
      if (at_ + 2 >= pattern_.size() || pattern_[at_ + 2] != '{' || close == std::string_view::npos) {
        refuse("\\p without {Property}");
      }
      copy(close + 1 - at_);
    } else if (c == 'd' || c == 'r' || c == 'n' || c == 't') {
      copy(2);
    } else if (static_cast<unsigned char>(c) < 0x80 &&
               std::string_view(R"(\.-/'"|()[]{}*+?^$#&~!,:;<>=@_%` )").find(c) != std::string_view::npos) {
      copy(2);
    } else {
      refuse(std::string("the escape \\") + c + (in_class_ ? " in a class" : "") +
             " is not supported: Oniguruma and PCRE2 may read it differently");
    }
  }

  void class_character(char c) {
    if (c == '[') refuse("a class within a class is not supported");
    if (c == '&' && pattern_.substr(at_).starts_with("&&")) refuse("the intersection && is not supported");
    if (c == ']' && at_ != class_start_) in_class_ = false;
    copy(1);
  }

  void character(char c) {
    if (c == '[') {
      in_class_ = true;
      copy(pattern_.substr(at_).starts_with("[^") ? 2 : 1);
      class_start_ = at_;
      if (pattern_.substr(at_).starts_with("]")) refuse("a class must not start with ]");
    } else if (c == '(') {
      open_group();
    } else if (c == '^' || c == '$' || c == '.') {
      refuse(std::string("'") + c + "' is not supported: Oniguruma and PCRE2 read it differently");
    } else if (c == '}' && pattern_.substr(at_).starts_with("}+")) {
      refuse("'}+' is possessive in PCRE2 only");
    } else if (c == '#') {
      out_ += "\\#";
      ++at_;
    } else {
      copy(1);
    }
  }

  void open_group() {
    const std::string_view rest = pattern_.substr(at_);
    for (const std::string_view known : {"(?:", "(?i:", "(?>", "(?=", "(?!", "(?<=", "(?<!"}) {
      if (rest.starts_with(known)) return copy(known.size());
    }
    if (rest.starts_with("(?") || rest.starts_with("(*")) {
      refuse("the group '" + std::string(rest.substr(0, 4)) + "' is not supported");
    }
    copy(1);
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::size_t class_start_ = 0;
  std::string out_;
};

std::string quote(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) quoted += '\\';
    quoted += c;
  }
  return quoted;
}

}  // namespace

std::string translate_split_pattern(std::string_view pattern) { return Translator(pattern).run(); }

struct SplitPattern::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Code() { pcre2_code_free(code); }
};

struct SplitPattern::Scratch::State {
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr);

  State() {
    CHECK(match != nullptr && context != nullptr, "out of memory");
    pcre2_set_heap_limit(context, kHeapKibibytes);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);  // without a JIT there is none
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    pcre2_match_data_free(match);
    pcre2_match_context_free(context);
    if (stack != nullptr) pcre2_jit_stack_free(stack);
  }
};

SplitPattern::Scratch::Scratch() : state_(std::make_unique<State>()) {}
SplitPattern::Scratch::Scratch(Scratch&&) noexcept = default;
SplitPattern::Scratch& SplitPattern::Scratch::operator=(Scratch&&) noexcept = default;
SplitPattern::Scratch::~Scratch() = default;

SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

SplitPattern::SplitPattern(const std::string& pattern)
    : SplitPattern(pattern, pattern.size() <= kMaxPatternBytes ? translate_split_pattern(pattern) : pattern) {}

SplitPattern SplitPattern::literal(const std::string& text) { return SplitPattern(text, quote(text)); }

SplitPattern::SplitPattern(const std::string& pattern, const std::string& translated)
    : pattern_(pattern), code_(std::make_unique<Code>()) {
  if (pattern.size() > kMaxPatternBytes) {
    throw UserError("the split pattern has " + std::to_string(pattern.size()) + " bytes; at most " +
                    std::to_string(kMaxPatternBytes) + " are read");
  }
  int error = 0;
  PCRE2_SIZE place = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), PCRE2_UTF | PCRE2_UCP,
                              &error, &place, nullptr);
  if (code_->code == nullptr) {
    throw UserError("split pattern '" + pattern + "': " + pcre2_message(error) + " (byte " + std::to_string(place) +
                    " of '" + translated + "')");
  }
  std::uint32_t matches_empty = 0;
  pcre2_pattern_info(code_->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) throw UserError("split pattern '" + pattern + "' matches the empty text: it splits nowhere");
  code_->jit = pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE) == 0;
}

SplitPattern::Match SplitPattern::find(std::string_view text, std::size_t from, Scratch& scratch) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  Scratch::State& state = *scratch.state_;
  int result =
      code_->jit
          ? pcre2_jit_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state.match, state.context)
          : pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state.match, state.context);
  // A piece that overflows the JIT's stack is matched on the heap.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result = pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, state.match,
                         state.context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
  if (result < 0) {
    throw UserError("split pattern '" + pattern_ + "' fails at byte " + std::to_string(from) + " of a text of " +
                    std::to_string(text.size()) + " bytes: " + pcre2_message(result) + "; simplify the pattern");
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.match);
  if (bounds[0] < from || bounds[1] <= bounds[0]) {
    throw UserError("split pattern '" + pattern_ + "' matches nothing at byte " + std::to_string(from) +
                    " of a text: every match must have at least one character");
  }
  return {bounds[0], bounds[1]};
}

}  // namespace trireme
