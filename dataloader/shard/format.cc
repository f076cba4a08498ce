#include "dataloader/shard/format.h"

#include <bit>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <xxhash.h>

#include "monitoring/error.h"

namespace trireme {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and are read in place");

namespace {

constexpr char kMagic[9] = "TRISHARD";
constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 56;
constexpr std::uint64_t kMaxBlockBytes = std::uint64_t{1} << 30;

template <class T>
void put(std::span<std::byte> bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

template <class T>
T get(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

[[noreturn]] void damaged(const std::string& name, std::size_t byte, const std::string& what) {
  throw DamagedDataError(
      fmt::format("{}: byte {}: {}. Restore the file from a copy, or run `trireme prepare` again.", name, byte, what));
}

}  // namespace

std::array<std::byte, kShardHeaderBytes> shard_header_bytes(const ShardHeader& header) {
  std::array<std::byte, kShardHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic, 8);
  put(bytes, 8, kShardVersion);
  put(bytes, 12, header.token_bytes);
  put(bytes, 16, header.tokens);
  put(bytes, 24, header.documents);
  put(bytes, 32, header.block_bytes);
  put(bytes, 56, block_checksum(std::span(bytes).first(56)));
  return bytes;
}

ShardHeader parse_shard_header(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kShardHeaderBytes + kShardTrailerBytes)
    damaged(
        name, file.size(),
        fmt::format("the file ends here, and a shard has at least {} bytes", kShardHeaderBytes + kShardTrailerBytes));
  if (std::memcmp(file.data(), kMagic, 8) != 0) damaged(name, 0, "this is not a shard (it must begin with TRISHARD)");
  const auto version = get<std::uint32_t>(file, 8);
  const bool header_intact = get<std::uint64_t>(file, 56) == block_checksum(file.first(56));
  if (version != kShardVersion && header_intact)
    damaged(name, 8,
            fmt::format("this shard has version {}, and this program reads version {}", version, kShardVersion));
  if (!header_intact) damaged(name, 56, "the header (bytes 0 to 63) does not match its checksum");

  const ShardHeader header{.token_bytes = get<std::uint32_t>(file, 12),
                           .tokens = get<std::uint64_t>(file, 16),
                           .documents = get<std::uint64_t>(file, 24),
                           .block_bytes = get<std::uint64_t>(file, 32)};
  if (header.token_bytes != 2 && header.token_bytes != 4)
    damaged(name, 12, fmt::format("a token of {} bytes; it must be 2 or 4", header.token_bytes));
  // Below these bounds no product or sum of counts overflows.
  if (header.tokens == 0 || header.tokens > kMaxTokens)
    damaged(name, 16, fmt::format("{} tokens; there must be 1 to {}", header.tokens, kMaxTokens));
  if (header.documents == 0 || header.documents > header.tokens)
    damaged(name, 24, fmt::format("{} documents cannot be in {} tokens", header.documents, header.tokens));
  if (header.block_bytes == 0 || header.block_bytes % 8 != 0 || header.block_bytes > kMaxBlockBytes)
    damaged(name, 32,
            fmt::format("blocks of {} bytes; they must be a multiple of 8, at most {}", header.block_bytes,
                        kMaxBlockBytes));
  if (get<std::uint64_t>(file, 40) != 0 || get<std::uint64_t>(file, 48) != 0)
    damaged(name, 40, "bytes 40 to 55 must be zero");
  if (header.file_bytes() != file.size())
    damaged(name, std::min<std::uint64_t>(file.size(), header.file_bytes()),
            fmt::format("the file has {} bytes, and its header ({} tokens, {} documents) makes it {}", file.size(),
                        header.tokens, header.documents, header.file_bytes()));
  return header;
}

std::uint64_t block_checksum(std::span<const std::byte> block) { return XXH3_64bits(block.data(), block.size()); }

std::string ShardDigest::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

ShardDigest shard_digest(std::span<const std::byte> header, std::span<const std::byte> checksums) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  XXH3_128bits_update(state.get(), header.data(), header.size());
  XXH3_128bits_update(state.get(), checksums.data(), checksums.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace trireme
