// What the fuzzers do with bytes, and what the tests do with the seeds: read everything that can be read. Any bytes end
// in values within their bounds or in DamagedDataError; anything else is a finding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "dataloader/shard/manifest.h"
#include "dataloader/shard/shard.h"
#include "monitoring/error.h"
#include "tests/dataloader/shard/sealed.h"

namespace trireme {

inline void expect(bool condition) {
  if (!condition) std::abort();
}

inline void read_all_of(const Shard& shard) {
  constexpr std::uint32_t kVocabSize = 1000;
  std::vector<std::int32_t> out(std::min<std::uint64_t>(shard.tokens(), 256));
  for (const std::uint64_t begin : {std::uint64_t{0}, shard.tokens() / 2, shard.tokens() - out.size()}) {
    const auto part = std::span(out).first(std::min<std::uint64_t>(out.size(), shard.tokens() - begin));
    shard.read(begin, kVocabSize, part);
    for (const std::int32_t token : part) expect(0 <= token && token < static_cast<std::int32_t>(kVocabSize));
  }
  for (const std::uint64_t token : {std::uint64_t{0}, shard.tokens() / 2, shard.tokens() - 1})
    expect(shard.document_of(token) < shard.documents());
  shard.verify();
}

// The bytes as they are, and again with their checksums put right.
inline void exercise_shard(std::span<const std::uint8_t> input) {
  std::vector<std::uint64_t> aligned((input.size() + 7) / 8);
  if (!input.empty()) std::memcpy(aligned.data(), input.data(), input.size());
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(aligned)).first(input.size());
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      read_all_of(Shard(bytes, "input"));
    } catch (const DamagedDataError&) {
    }
    seal_shard(bytes);
  }
}

inline void exercise_manifest(std::span<const std::uint8_t> input) {
  const std::string bytes(input.begin(), input.end());
  const std::size_t newline = bytes.find('\n');
  for (const std::string& text :
       {bytes, sealed_manifest(newline == std::string::npos ? bytes : bytes.substr(newline + 1))}) {
    try {
      const DatasetManifest manifest = parse_manifest(text, "input");
      expect(parse_manifest(manifest_text(manifest), "again") == manifest);
    } catch (const DamagedDataError&) {
    }
  }
}

}  // namespace trireme
