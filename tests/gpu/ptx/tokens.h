// Cuts PTX into words, numbers, strings and punctuation, each with its line. A word is a name or an opcode with its
// modifiers: %tid.x, $L__BB0_2, ld.global.L1::no_allocate.v4.f32, .visible.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::gpu {

struct Token {
  enum class Kind { kWord, kNumber, kString, kPunctuation, kEnd };
  Kind kind = Kind::kEnd;
  std::string_view text{};
  int line = 0;
};

// The tokens point into `ptx`; the last one is kEnd. Comments are left out.
std::vector<Token> tokens_of(std::string_view ptx);

std::vector<std::string> split_at_dots(std::string_view word);  // "ld.global" -> "ld", "global"

}  // namespace trireme::gpu
