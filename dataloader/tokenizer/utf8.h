// Text arrives as bytes from files that other people wrote. The splitting patterns work on code points and are
// undefined on anything else, so every text is checked once, here, and what is not UTF-8 is found by its place.
//
// Well-formed is what the Unicode standard's table 3-7 allows: no overlong forms, no surrogates, nothing above
// U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace trireme {

// Bytes of the longest prefix of `text` that is well-formed UTF-8.
std::size_t well_formed_prefix(std::string_view text);

// Bytes at the start of `text` that belong to no well-formed sequence: at least 1 if text[0] starts none, 0 if it does
// or if the text is empty.
std::size_t malformed_prefix(std::string_view text);

// The code point at the start of well-formed, non-empty text, and its length in bytes (1 to 4).
struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;
};
CodePoint first_code_point(std::string_view text);

void append_utf8(std::uint32_t code_point, std::string& out);

// True for the characters of Unicode's White_Space property.
bool is_white_space(std::uint32_t code_point);

}  // namespace trireme
