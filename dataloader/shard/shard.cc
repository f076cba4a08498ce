#include "dataloader/shard/shard.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

namespace {

template <class T>
T load(std::span<const std::byte> bytes, std::uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

[[noreturn]] void cannot_read(const std::filesystem::path& path, int error) {
  throw UserError(
      fmt::format("{}: the shard cannot be read: {}. The folder's manifest names it: copy the folder whole, or run "
                  "`trireme prepare` again.",
                  path.string(), std::strerror(error)));
}

// `Token` is u16 or u32. Returns the position of the first token that is not below `limit`, or out.size().
template <class Token>
std::size_t widen(std::span<const std::byte> bytes, std::uint32_t limit, std::span<std::int32_t> out) {
  const auto* tokens = reinterpret_cast<const Token*>(bytes.data());
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::int32_t>(tokens[i]);
    largest = std::max<std::uint32_t>(largest, tokens[i]);
  }
  if (largest < limit) return out.size();
  return static_cast<std::size_t>(
      std::find_if(tokens, tokens + out.size(), [limit](Token token) { return token >= limit; }) - tokens);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) cannot_read(path, errno);
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  const bool regular = known && S_ISREG(status.st_mode);
  void* address = nullptr;
  if (regular && status.st_size > 0)
    address = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_SHARED, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (!known || address == MAP_FAILED) cannot_read(path, error);
  if (!regular) cannot_read(path, EISDIR);
  bytes_ = {static_cast<const std::byte*>(address), static_cast<std::size_t>(status.st_size)};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Shard::Shard(const std::filesystem::path& path)
    : file_(std::make_unique<MappedFile>(path)), bytes_(file_->bytes()), name_(path.string()) {
  open();
}

Shard::Shard(std::span<const std::byte> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {
  CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 == 0, "the bytes of ", name_, " must be aligned");
  open();
}

void Shard::open() {
  header_ = parse_shard_header(bytes_, name_);
  digest_ =
      shard_digest(bytes_.first(kShardHeaderBytes), bytes_.subspan(header_.checksums_begin(), header_.blocks() * 8));
  const std::uint64_t trailer = header_.trailer_begin();
  const ShardDigest stated{.low = load<std::uint64_t>(bytes_, trailer),
                           .high = load<std::uint64_t>(bytes_, trailer + 8)};
  if (!(stated == digest_))
    damaged(fmt::format("bytes {} to {}: the checksums do not match the digest behind them", header_.checksums_begin(),
                        header_.file_bytes() - 1));
  verified_ = std::make_unique<std::atomic<std::uint64_t>[]>((header_.blocks() + 63) / 64);
}

void Shard::read(std::uint64_t begin, std::uint32_t vocab_size, std::span<std::int32_t> out) const {
  CHECK(begin <= tokens() && out.size() <= tokens() - begin, begin, " + ", out.size(), " of ", tokens());
  const std::uint64_t first = kShardHeaderBytes + begin * header_.token_bytes;
  const std::uint64_t last = first + out.size() * header_.token_bytes;
  need(first, last);
  const auto bytes = bytes_.subspan(first, last - first);
  const std::uint32_t limit = std::min(vocab_size, 1u << 31);
  const std::size_t bad =
      header_.token_bytes == 2 ? widen<std::uint16_t>(bytes, limit, out) : widen<std::uint32_t>(bytes, limit, out);
  if (bad < out.size())
    damaged(fmt::format("byte {}: token {} is {}, and the vocabulary has {}", first + bad * header_.token_bytes,
                        begin + bad, static_cast<std::uint32_t>(out[bad]), vocab_size));
}

std::uint64_t Shard::document_end(std::uint64_t document) const {
  CHECK(document < documents(), document, " of ", documents());
  const std::uint64_t at = header_.ends_begin() + document * 8;
  need(at, at + 8);
  const auto end = load<std::uint64_t>(bytes_, at);
  const bool is_last = document + 1 == documents();
  if (end == 0 || end > tokens() || (is_last && end != tokens()))
    damaged(fmt::format("byte {}: document {} ends at token {} of {}", at, document, end, tokens()));
  return end;
}

std::uint64_t Shard::document_of(std::uint64_t token) const {
  CHECK(token < tokens(), token, " of ", tokens());
  std::uint64_t low = 0, high = documents() - 1;  // the last document ends behind every token
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (document_end(middle) <= token)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void Shard::verify() const {
  for (std::uint64_t block = 0; block < header_.blocks(); ++block) verify_block(block);
  for (std::uint64_t document = 0, previous = 0; document < documents(); ++document) {
    const std::uint64_t end = document_end(document);
    if (end <= previous)
      damaged(fmt::format("byte {}: document {} ends at token {}, before the one before it",
                          header_.ends_begin() + document * 8, document, end));
    previous = end;
  }
}

void Shard::need(std::uint64_t begin_byte, std::uint64_t end_byte) const {
  if (begin_byte == end_byte) return;
  const std::uint64_t last = (end_byte - 1 - kShardHeaderBytes) / header_.block_bytes;
  for (std::uint64_t block = (begin_byte - kShardHeaderBytes) / header_.block_bytes; block <= last; ++block)
    if (!(verified_[block / 64].load(std::memory_order_relaxed) >> (block % 64) & 1)) verify_block(block);
}

void Shard::verify_block(std::uint64_t block) const {
  const std::uint64_t begin = kShardHeaderBytes + block * header_.block_bytes;
  const std::uint64_t end = std::min(begin + header_.block_bytes, header_.checksums_begin());
  if (block_checksum(bytes_.subspan(begin, end - begin)) !=
      load<std::uint64_t>(bytes_, header_.checksums_begin() + block * 8))
    damaged(fmt::format("block {} (bytes {} to {}) does not match its checksum", block, begin, end - 1));
  // The bytes never change, so the bit orders nothing: another thread that misses it verifies the block again.
  verified_[block / 64].fetch_or(std::uint64_t{1} << (block % 64), std::memory_order_relaxed);
}

void Shard::damaged(const std::string& what) const {
  throw DamagedDataError(
      fmt::format("{}: {}. Restore the file from a copy, or run `trireme prepare` again.", name_, what));
}

}  // namespace trireme
