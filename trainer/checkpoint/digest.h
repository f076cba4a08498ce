// A digest over a whole tensor would be made by one rank and would say only that something is wrong. So digests are
// taken of blocks: ranks hash apart, and damage is located to kDigestBlockBytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace trireme {

inline constexpr std::size_t kDigestBlockBytes = std::size_t{1} << 20;

std::string digest_of(std::span<const std::byte> bytes);  // XXH3-128, 32 hexadecimal digits
std::vector<std::string> block_digests(std::span<const std::byte> bytes);

// Reads the open file's bytes [begin, begin + bytes) and holds them against `digests`. Returns "bytes A to B of it ..."
// (from `begin`) of the first block that cannot be read or is another; empty: none. Reads instead of mapping, so that a
// bad sector is an answer and not a SIGBUS.
std::string damaged_block(int file, std::uint64_t begin, std::uint64_t bytes, std::span<const std::string> digests);

}  // namespace trireme
