#include "dataloader/tokenizer/byte_alphabet.h"

#include <array>

#include "dataloader/tokenizer/utf8.h"

namespace trireme {
namespace {

constexpr std::uint32_t kFirstStandIn = 0x100;  // characters for bytes that are not printable start here
constexpr int kStandIns = 68;

struct Alphabet {
  std::array<std::uint16_t, 256> character{};
  std::array<std::uint8_t, kStandIns> stand_in{};  // the byte behind U+0100 + i
};

constexpr bool printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  int next = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (printable(byte)) {
      alphabet.character[byte] = static_cast<std::uint16_t>(byte);
    } else {
      alphabet.stand_in[next] = static_cast<std::uint8_t>(byte);
      alphabet.character[byte] = static_cast<std::uint16_t>(kFirstStandIn + next++);
    }
  }
  return alphabet;
}
constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::uint32_t byte_character(std::uint8_t byte) { return kAlphabet.character[byte]; }

std::string to_byte_alphabet(std::string_view bytes) {
  std::string written;
  written.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(byte_character(static_cast<std::uint8_t>(byte)), written);
  return written;
}

std::optional<std::string> from_byte_alphabet(std::string_view written) {
  std::string bytes;
  bytes.reserve(written.size());
  while (!written.empty()) {
    const CodePoint c = first_code_point(written);
    if (c.value >= kFirstStandIn && c.value < kFirstStandIn + kStandIns) {
      bytes.push_back(static_cast<char>(kAlphabet.stand_in[c.value - kFirstStandIn]));
    } else if (c.value < kFirstStandIn && printable(static_cast<int>(c.value))) {
      bytes.push_back(static_cast<char>(c.value));
    } else {
      return std::nullopt;
    }
    written.remove_prefix(c.bytes);
  }
  return bytes;
}

}  // namespace trireme
