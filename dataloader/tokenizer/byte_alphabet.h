// A tokenizer.json is text, but the tokens of a byte-level BPE are arbitrary bytes. GPT-2's convention writes each byte
// as one printable character: itself where it is printable in Latin-1, else U+0100 and up in order (a space becomes
// U+0120). Source: bytes_to_unicode() in openai/gpt-2's src/encoder.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trireme {

// Bytes as they are written in the file. Total.
std::string to_byte_alphabet(std::string_view bytes);

// The bytes that `written` stands for; nothing if it has a character outside the alphabet. `written` is well-formed.
std::optional<std::string> from_byte_alphabet(std::string_view written);

// The character that stands for `byte`.
std::uint32_t byte_character(std::uint8_t byte);

}  // namespace trireme
