#include "dataloader/shard/shard_writer.h"

#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "dataloader/shard/durable_file.h"
#include "monitoring/check.h"

namespace trireme {

// The shard being written: the body passes through one block's buffer, which is hashed and written when it is full.
class ShardWriter::Shard {
 public:
  Shard(const std::filesystem::path& path, std::uint32_t token_bytes, std::uint64_t block_bytes) : file_(path) {
    header_.token_bytes = token_bytes;
    header_.block_bytes = block_bytes;
    block_.reserve(block_bytes);
    file_.append(std::array<std::byte, kShardHeaderBytes>{});  // its place; written last
  }

  std::uint64_t token_bytes_total() const { return header_.tokens * header_.token_bytes; }

  void add_document(std::span<const std::uint32_t> tokens) {
    if (header_.token_bytes == 4) {
      put(std::as_bytes(tokens));
    } else {
      narrow_.assign(tokens.begin(), tokens.end());
      put(std::as_bytes(std::span<const std::uint16_t>(narrow_)));
    }
    header_.tokens += tokens.size();
    ends_.push_back(header_.tokens);
  }

  ShardEntry finish() {
    header_.documents = ends_.size();
    put(std::vector<std::byte>(header_.ends_begin() - kShardHeaderBytes - token_bytes_total()));
    put(std::as_bytes(std::span<const std::uint64_t>(ends_)));
    if (!block_.empty()) write_block();
    CHECK(file_.size() == header_.checksums_begin() && checksums_.size() == header_.blocks(), file_.size(), " bytes");

    const auto header = shard_header_bytes(header_);
    const auto checksums = std::as_bytes(std::span<const std::uint64_t>(checksums_));
    const ShardDigest digest = shard_digest(header, checksums);
    file_.append(checksums);
    file_.append(std::as_bytes(std::span(&digest.low, 1)));
    file_.append(std::as_bytes(std::span(&digest.high, 1)));
    file_.overwrite(0, header);
    CHECK(file_.size() == header_.file_bytes(), file_.size(), " bytes");
    file_.finish();
    return {{}, header_.tokens, header_.documents, file_.size(), digest.hex()};
  }

 private:
  void put(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::size_t taken = std::min<std::size_t>(bytes.size(), header_.block_bytes - block_.size());
      block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
      bytes = bytes.subspan(taken);
      if (block_.size() == header_.block_bytes) write_block();
    }
  }

  void write_block() {
    checksums_.push_back(block_checksum(block_));
    file_.append(block_);
    block_.clear();
  }

  DurableFile file_;
  ShardHeader header_;
  std::vector<std::byte> block_;
  std::vector<std::uint16_t> narrow_;
  std::vector<std::uint64_t> ends_;
  std::vector<std::uint64_t> checksums_;
};

ShardWriter::ShardWriter(std::filesystem::path folder, std::string split, const ShardWriterOptions& options)
    : folder_(std::move(folder)), options_(options) {
  CHECK(options_.vocab_size > 0 && options_.vocab_size <= 1u << 31, options_.vocab_size);
  CHECK(options_.block_bytes > 0 && options_.block_bytes % 8 == 0, options_.block_bytes);
  entry_.name = std::move(split);
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::add_document(std::span<const std::uint32_t> tokens) {
  CHECK(!tokens.empty(), "a document holds at least its end-of-document token");
  for (const std::uint32_t token : tokens) CHECK(token < options_.vocab_size, token, " of ", options_.vocab_size);
  const std::uint32_t token_bytes = options_.vocab_size <= 65536 ? 2 : 4;
  if (shard_ && shard_->token_bytes_total() + tokens.size() * token_bytes > options_.shard_bytes) finish_shard();
  if (!shard_) {
    const std::string file = fmt::format("{}-{:05}.shard", entry_.name, entry_.shards.size());
    shard_ = std::make_unique<Shard>(folder_ / file, token_bytes, options_.block_bytes);
  }
  shard_->add_document(tokens);
}

void ShardWriter::finish_shard() {
  ShardEntry entry = shard_->finish();
  shard_.reset();
  entry.file = fmt::format("{}-{:05}.shard", entry_.name, entry_.shards.size());
  entry_.tokens += entry.tokens;
  entry_.documents += entry.documents;
  entry_.shards.push_back(std::move(entry));
}

SplitEntry ShardWriter::finish(std::uint64_t text_bytes) {
  if (shard_) finish_shard();
  entry_.text_bytes = text_bytes;
  return entry_;
}

}  // namespace trireme
