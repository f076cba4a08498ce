// Disks and copies lose bits, and training on a few wrong tokens looks like nothing at all. So a shard says how long it
// must be, and carries a checksum for every block: damage is found before the tokens are used, and named by its bytes.
//
// A shard, all little-endian:
//
//   byte      0  "TRISHARD"
//             8  u32 version = 1
//            12  u32 bytes of a token: 2 (u16) or 4 (u32)
//            16  u64 tokens N > 0
//            24  u64 documents D, 1 <= D <= N
//            32  u64 bytes of a block B, a multiple of 8
//            40  u64 0
//            48  u64 0
//            56  u64 XXH3-64 of bytes 0 to 55
//            64  N tokens, then zeros up to a multiple of 8
//             +  u64 end[D]: document d is the tokens [end[d-1], end[d]) with end[-1] = 0; increasing; end[D-1] = N
//             +  u64 checksum[C]: XXH3-64 of each block; blocks are B bytes (the last one shorter) of what lies between
//                byte 64 and here
//             +  u64 low, u64 high: XXH3-128 of the header and all checksums: the digest of the file
//
// The digest covers the whole file through the checksums, so that a shard is identified without reading its tokens.
// A document never crosses shards.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace trireme {

inline constexpr std::uint64_t kShardHeaderBytes = 64;
inline constexpr std::uint64_t kShardTrailerBytes = 16;
inline constexpr std::uint64_t kShardBlockBytes = 64 * 1024;  // what the writer chooses
inline constexpr std::uint32_t kShardVersion = 1;

struct ShardHeader {
  std::uint32_t token_bytes = 0;
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;
  std::uint64_t block_bytes = 0;

  // Where things stand in the file, in bytes. Only for headers that parse_shard_header returned or a writer made.
  std::uint64_t ends_begin() const { return kShardHeaderBytes + (tokens * token_bytes + 7) / 8 * 8; }
  std::uint64_t checksums_begin() const { return ends_begin() + documents * 8; }
  std::uint64_t blocks() const { return (checksums_begin() - kShardHeaderBytes + block_bytes - 1) / block_bytes; }
  std::uint64_t trailer_begin() const { return checksums_begin() + blocks() * 8; }
  std::uint64_t file_bytes() const { return trailer_begin() + kShardTrailerBytes; }
};

std::array<std::byte, kShardHeaderBytes> shard_header_bytes(const ShardHeader& header);

// Reads and checks the header of a shard whose bytes these are; `name` is for messages. No count in it can overflow or
// reach past the file afterwards. Throws DamagedDataError naming file and byte.
ShardHeader parse_shard_header(std::span<const std::byte> file, const std::string& name);

std::uint64_t block_checksum(std::span<const std::byte> block);

// The digest of a file, as 32 hexadecimal digits. `checksums`: the C checksums as they stand in the file.
struct ShardDigest {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const ShardDigest&) const = default;
  std::string hex() const;
};
ShardDigest shard_digest(std::span<const std::byte> header, std::span<const std::byte> checksums);

}  // namespace trireme
