// Mutated bytes almost never have the right checksum, so they would never reach the code behind it. These put the
// checksums right, for whatever the bytes say.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "dataloader/shard/format.h"

namespace trireme {

// XXH3-128 as hexadecimal digits; shard_digest hashes the concatenation of its two spans.
inline std::string sealed_manifest(std::string_view body) {
  const std::string digest = shard_digest({}, std::as_bytes(std::span(body))).hex();
  return "# trireme data set; XXH3-128 of what follows: " + digest + "\n" + std::string(body);
}

// Puts header, block checksums and digest right where the bytes are long enough to have them.
inline void seal_shard(std::span<std::byte> file) {
  if (file.size() < kShardHeaderBytes + kShardTrailerBytes) return;
  const auto put = [&](std::uint64_t at, std::uint64_t value) { std::memcpy(file.data() + at, &value, 8); };
  const auto get = [&](std::uint64_t at) {
    std::uint64_t value;
    std::memcpy(&value, file.data() + at, 8);
    return value;
  };
  put(56, block_checksum(file.first(56)));
  ShardHeader header{static_cast<std::uint32_t>(get(8) >> 32), get(16), get(24), get(32)};
  const std::uint64_t limit = file.size();
  if (header.tokens > limit || header.documents > limit || header.block_bytes == 0 || header.block_bytes > limit ||
      (header.token_bytes != 2 && header.token_bytes != 4) || header.file_bytes() != limit)
    return;
  for (std::uint64_t block = 0; block < header.blocks(); ++block) {
    const std::uint64_t begin = kShardHeaderBytes + block * header.block_bytes;
    const std::uint64_t end = std::min(begin + header.block_bytes, header.checksums_begin());
    put(header.checksums_begin() + block * 8, block_checksum(file.subspan(begin, end - begin)));
  }
  const ShardDigest digest =
      shard_digest(file.first(kShardHeaderBytes), file.subspan(header.checksums_begin(), header.blocks() * 8));
  put(header.trailer_begin(), digest.low);
  put(header.trailer_begin() + 8, digest.high);
}

}  // namespace trireme
