// What the fuzzers do with bytes, and what the tests do with the seeds. Any bytes end in values within their bounds or
// in an Error; anything else is a finding.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "monitoring/error.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace trireme {

inline void expect(bool condition) {
  if (!condition) std::abort();
}

// The bytes as they are, and the header alone with its length and as much data as its last offset asks for put right.
inline void exercise_safetensors(std::span<const std::uint8_t> input) {
  const auto read = [](std::span<const std::byte> file) {
    try {
      const SafetensorsHeader header = parse_safetensors(file, "input");
      std::uint64_t at = 0;
      for (const SafetensorsEntry& entry : header.entries) {
        expect(entry.begin == at && header.data_begin + at + entry.bytes() <= file.size());
        at += entry.bytes();
      }
      expect(header.data_begin + at == file.size());
      const std::string again = safetensors_header(header.entries);
      std::vector<std::byte> whole(again.size() + at);
      std::memcpy(whole.data(), again.data(), again.size());
      expect(parse_safetensors(whole, "again").entries.size() == header.entries.size());
    } catch (const Error&) {
    }
  };
  read(std::as_bytes(input));
  if (input.size() < 8) return;
  const std::span<const std::uint8_t> text = input.subspan(8);
  for (const std::size_t data : {0, 4, 8, 24, 96}) {
    std::vector<std::byte> file(8 + text.size() + data);
    const std::uint64_t length = text.size();
    std::memcpy(file.data(), &length, 8);
    if (!text.empty()) std::memcpy(file.data() + 8, text.data(), text.size());
    read(file);
  }
}

inline std::string sealed_checkpoint_manifest(const std::string& body) {
  return "# trireme checkpoint; XXH3-128 of what follows: " + digest_of(std::as_bytes(std::span(body))) + "\n" + body;
}

// The bytes as they are, and what follows their first line with its digest put right.
inline void exercise_checkpoint_manifest(std::span<const std::uint8_t> input) {
  const std::string bytes(input.begin(), input.end());
  const std::size_t newline = bytes.find('\n');
  const std::string body = newline == std::string::npos ? bytes : bytes.substr(newline + 1);
  for (const std::string& text : {bytes, sealed_checkpoint_manifest(body)}) {
    try {
      const std::string once = checkpoint_manifest_text(parse_checkpoint_manifest(text, "input"));
      expect(checkpoint_manifest_text(parse_checkpoint_manifest(once, "again")) == once);
    } catch (const DamagedDataError&) {
    }
  }
}

}  // namespace trireme
