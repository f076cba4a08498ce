#include "tests/gpu/ptx/reader.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <utility>

#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {

const Token& Reader::peek(std::size_t ahead) const { return tokens_[std::min(place_ + ahead, tokens_.size() - 1)]; }

const Token& Reader::next() {
  const Token& token = peek();
  if (token.kind == Token::Kind::kEnd) fail("the text ends here");
  ++place_;
  return token;
}

bool Reader::accept(std::string_view text) {
  if (peek().text != text) return false;
  ++place_;
  return true;
}

void Reader::expect(std::string_view text) {
  if (!accept(text)) fail(std::string(text).append(" expected"));
}

std::string Reader::word() {
  if (peek().kind != Token::Kind::kWord) fail("a name expected");
  return std::string(next().text);
}

std::int64_t Reader::integer() {
  const bool negative = accept("-");
  const auto value = static_cast<std::int64_t>(number().bits);
  return negative ? -value : value;
}

void Reader::skip_past(std::string_view text) {
  while (next().text != text) {
  }
}

Operand Reader::number() {
  if (peek().kind != Token::Kind::kNumber) fail("a number expected");
  std::string digits(next().text);
  Operand operand{.kind = Operand::Kind::kImmediate};
  const bool is_float = digits.size() > 2 && digits[0] == '0' && std::string_view("fFdD").find(digits[1]) < 4;
  if (is_float && (digits.size() == 10 || digits.size() == 18)) {
    operand.float_bytes = digits.size() == 10 ? 4 : 8;
    operand.bits = std::strtoull(digits.c_str() + 2, nullptr, 16);
    return operand;
  }
  if (digits.back() == 'U') digits.pop_back();
  char* end = nullptr;
  errno = 0;
  operand.bits = std::strtoull(digits.c_str(), &end, 0);
  if (*end != '\0' || errno != 0) fail("not a number that PTX has: " + digits);
  return operand;
}

Operand Reader::list(Operand::Kind kind, std::string_view close) {
  Operand operand{.kind = kind};
  while (!accept(close)) {
    operand.parts.push_back(this->operand());
    if (peek().text != close) expect(",");
  }
  return operand;
}

Operand Reader::address() {
  Operand operand{.kind = Operand::Kind::kAddress};
  operand.parts.push_back(this->operand());
  std::swap(operand.offset, operand.parts.front().offset);
  if (peek().text == "-") operand.offset = integer();
  expect("]");
  return operand;
}

Operand Reader::operand() {
  if (accept("{")) return list(Operand::Kind::kVector, "}");
  if (accept("(")) return list(Operand::Kind::kList, ")");
  if (accept("[")) return address();
  if (accept("!")) {
    Operand inner = operand();
    inner.negated = !inner.negated;
    return inner;
  }
  if (accept("-")) {
    Operand value = number();
    if (value.float_bytes != 0) fail("a sign before a float's bits");
    value.bits = -value.bits;
    return value;
  }
  if (peek().kind == Token::Kind::kNumber) return number();
  Operand operand{.name = word()};
  if (operand.name == "_") operand.kind = Operand::Kind::kSink;
  if (operand.name == "WARP_SZ") operand = {.kind = Operand::Kind::kImmediate, .bits = 32};
  if (accept("|")) {
    Operand pair{.kind = Operand::Kind::kPair};
    pair.parts = {operand, this->operand()};
    return pair;
  }
  if (operand.kind == Operand::Kind::kName && accept("+")) operand.offset = integer();
  return operand;
}

std::string Reader::text_from(const Token& first) const {
  const char* start = first.text.data();
  const Token& last = tokens_[place_ == 0 ? 0 : place_ - 1];
  std::string text(start, static_cast<std::size_t>(last.text.data() + last.text.size() - start));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return text;
}

void Reader::fail(const std::string& what) const {
  throw Fault(Finding::kBadPtx,
              "PTX line " + std::to_string(peek().line) + ", at \"" + std::string(peek().text) + "\": " + what);
}

std::uint32_t bytes_of_type(std::string_view type) {
  static const std::map<std::string_view, std::uint32_t> bytes = {
      {"pred", 4}, {"b8", 1},  {"s8", 1},    {"u8", 1},     {"b16", 2},  {"s16", 2},   {"u16", 2},  {"f16", 2},
      {"bf16", 2}, {"b32", 4}, {"s32", 4},   {"u32", 4},    {"f32", 4},  {"f16x2", 4}, {"b64", 8},  {"s64", 8},
      {"u64", 8},  {"f64", 8}, {"b128", 16}, {"bf16x2", 4}, {"tf32", 4}, {"e4m3", 1},  {"e5m2", 1}, {"f32x2", 8}};
  const auto found = bytes.find(type);
  return found == bytes.end() ? 0 : found->second;
}

}  // namespace trireme::gpu
