// Reads a shard in place. The file is mapped, not read: ranks of a host share its pages, and opening costs a header and
// the checksums. Each block is held against its checksum when something of it is first read, so damage anywhere is
// found before a token of that block is used, and not at start-up, which would read the whole corpus.
//
// Invariants: after construction every offset that the header implies lies within the bytes; nothing read afterwards
// can reach outside them, whatever the bytes say. const functions may be called from any number of threads. Throws
// DamagedDataError naming file, block and bytes; UserError when the file is missing or cannot be read.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataloader/shard/format.h"

namespace trireme {

// A file mapped for reading. A file cut short while it is mapped raises SIGBUS: shards are replaced, never rewritten.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

class Shard {
 public:
  explicit Shard(const std::filesystem::path& path);
  Shard(std::span<const std::byte> bytes, std::string name);  // the caller keeps the bytes, 8-byte aligned

  std::uint64_t tokens() const { return header_.tokens; }
  std::uint64_t documents() const { return header_.documents; }
  std::uint64_t bytes() const { return bytes_.size(); }
  const ShardHeader& header() const { return header_; }
  ShardDigest digest() const { return digest_; }
  const std::string& name() const { return name_; }

  // The tokens [begin, begin + out.size()). A token not below vocab_size is damage.
  void read(std::uint64_t begin, std::uint32_t vocab_size, std::span<std::int32_t> out) const;

  // How many documents end at or before `token`: the number of the document that holds it. O(log documents).
  std::uint64_t document_of(std::uint64_t token) const;
  // Where document `document` ends: the position after its last token.
  std::uint64_t document_end(std::uint64_t document) const;

  // Reads everything. Slow: the whole file.
  void verify() const;

 private:
  void open();
  void need(std::uint64_t begin_byte, std::uint64_t end_byte) const;  // those bytes, verified
  void verify_block(std::uint64_t block) const;
  [[noreturn]] void damaged(const std::string& what) const;

  std::unique_ptr<const MappedFile> file_;  // null: the caller keeps the bytes
  std::span<const std::byte> bytes_;
  std::string name_;
  ShardHeader header_;
  ShardDigest digest_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> verified_;  // a bit a block
};

}  // namespace trireme
