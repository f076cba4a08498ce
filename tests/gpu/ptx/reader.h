// What parsing statements and parsing declarations share: a place in the tokens, and how to complain about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/gpu/ptx/statement.h"
#include "tests/gpu/ptx/tokens.h"

namespace trireme::gpu {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text), tokens_(tokens_of(text)) {}

  const Token& peek(std::size_t ahead = 0) const;
  const Token& next();
  bool at_end() const { return peek().kind == Token::Kind::kEnd; }
  bool accept(std::string_view text);  // skips it if it comes next
  void expect(std::string_view text);
  std::string word();
  std::int64_t integer();  // with a sign, decimal or hexadecimal
  void skip_past(std::string_view text);

  Operand operand();
  Operand number();                                 // an integer or a float's bits
  std::string text_from(const Token& first) const;  // as written, from `first` to the last token that was taken

  [[noreturn]] void fail(const std::string& what) const;

 private:
  Operand address();
  Operand list(Operand::Kind kind, std::string_view close);

  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t place_ = 0;
};

std::uint32_t bytes_of_type(std::string_view type);  // "f64" -> 8, "pred" -> 4; 0: no type

}  // namespace trireme::gpu
