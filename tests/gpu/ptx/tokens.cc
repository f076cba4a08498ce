#include "tests/gpu/ptx/tokens.h"

#include <algorithm>
#include <cctype>

namespace trireme::gpu {
namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

class Cutter {
 public:
  explicit Cutter(std::string_view text) : text_(text) {}

  std::vector<Token> cut() {
    std::vector<Token> tokens;
    for (;;) {
      skip_blanks();
      tokens.push_back(next());
      if (tokens.back().kind == Token::Kind::kEnd) return tokens;
    }
  }

 private:
  char at(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  void skip_to(std::size_t end) {
    end = std::min(end, text_.size());
    line_ += static_cast<int>(std::count(text_.begin() + place_, text_.begin() + end, '\n'));
    place_ = end;
  }

  void skip_blanks() {
    for (;;) {
      if (std::isspace(static_cast<unsigned char>(at(place_))) != 0) {
        skip_to(place_ + 1);
      } else if (at(place_) == '/' && at(place_ + 1) == '/') {
        skip_to(text_.find('\n', place_));
      } else if (at(place_) == '/' && at(place_ + 1) == '*') {
        const std::size_t end = text_.find("*/", place_);
        skip_to(end == std::string_view::npos ? text_.size() : end + 2);
      } else {
        return;
      }
    }
  }

  bool continues_word(std::size_t i) const {
    if (is_letter(at(i)) || is_digit(at(i)) || at(i) == '.') return true;
    return at(i) == ':' && (at(i + 1) == ':' || at(i - 1) == ':');  // ld.L1::no_allocate, but not a label's colon
  }

  Token next() {
    if (place_ >= text_.size() || at(place_) == '\0') return {.kind = Token::Kind::kEnd, .text = {}, .line = line_};
    const std::size_t start = place_;
    const char first = at(place_);
    auto kind = Token::Kind::kPunctuation;
    std::size_t end = start + 1;
    if (first == '"') {
      kind = Token::Kind::kString;
      while (end < text_.size() && at(end) != '"') ++end;
      ++end;
    } else if (is_digit(first)) {
      kind = Token::Kind::kNumber;
      while (std::isalnum(static_cast<unsigned char>(at(end))) != 0 || at(end) == '.') ++end;
    } else if (is_letter(first) || (first == '.' && is_letter(at(end)))) {
      kind = Token::Kind::kWord;
      while (continues_word(end)) ++end;
    }
    const Token token{.kind = kind, .text = text_.substr(start, end - start), .line = line_};
    skip_to(end);
    return token;
  }

  std::string_view text_;
  std::size_t place_ = 0;
  int line_ = 1;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view ptx) { return Cutter(ptx).cut(); }

std::vector<std::string> split_at_dots(std::string_view word) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (std::size_t dot = 0; dot != std::string_view::npos; start = dot + 1) {
    dot = word.find('.', start);
    parts.emplace_back(word.substr(start, dot == std::string_view::npos ? dot : dot - start));
  }
  return parts;
}

}  // namespace trireme::gpu
