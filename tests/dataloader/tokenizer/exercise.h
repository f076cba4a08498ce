// What the fuzzer does with its bytes; the tests do it with the fuzzer's seeds.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "dataloader/tokenizer/byte_alphabet.h"
#include "dataloader/tokenizer/tokenizer.h"
#include "dataloader/tokenizer/tokenizer_json.h"
#include "monitoring/error.h"

namespace trireme {

inline std::string byte_vocabulary() {
  std::string entries;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = to_byte_alphabet(std::string(1, static_cast<char>(byte)));
    entries.append(byte == 0 ? "\"" : ",\"").append(token == "\"" || token == "\\" ? "\\" : "").append(token);
    entries.append("\":").append(std::to_string(byte));
  }
  return entries;
}

// Any bytes for a tokenizer.json: it is refused with a UserError, or it works, and then text comes back as it was.
// "@VOCAB@" in the input stands for the 256 byte tokens, so that small inputs get past the vocabulary.
inline void exercise_tokenizer_json(std::span<const std::uint8_t> input) {
  static const std::string vocabulary = byte_vocabulary();
  constexpr std::string_view kMarker = "@VOCAB@";
  std::string json(input.begin(), input.end());
  const std::size_t at = json.find(kMarker);
  if (at != std::string::npos) json.replace(at, kMarker.size(), vocabulary);
  try {
    const TokenizerSpec spec = parse_tokenizer_json(json, "fuzz");
    const Tokenizer tokenizer(spec);
    const std::string text =
        "It's the oars' 1234th  row\r\n\n of K\xC3\xB6ln\xE3\x80\x80<|endoftext|>\xFF\xFE <mask> abababab";
    const std::string decoded = tokenizer.decode(tokenizer.encode(text));
    bool exact = !spec.add_prefix_space;
    for (const AddedToken& token : spec.added_tokens) exact = exact && !token.lstrip && !token.rstrip;
    if (exact && decoded != text) std::abort();
    const std::string written = write_tokenizer_json(spec);
    if (write_tokenizer_json(parse_tokenizer_json(written, "written")) != written) std::abort();
  } catch (const UserError&) {
  }
}

}  // namespace trireme
