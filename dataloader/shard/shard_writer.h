// A corpus is larger than memory and its length is not known beforehand. ShardWriter takes one document after another
// and writes shards (dataloader/shard/format.h) of a bounded size.
//
// Holds one block of tokens, and 8 bytes a document and a block of the shard being written. A shard is renamed to its
// name once it is whole and durable. Which document goes to which shard depends on the documents alone.
// One thread at a time. Throws UserError when writing fails (a full disk, an unwritable folder).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "dataloader/shard/format.h"
#include "dataloader/shard/manifest.h"

namespace trireme {

struct ShardWriterOptions {
  std::uint32_t vocab_size = 0;  // up to 65536: tokens of 2 bytes; else of 4
  // A new shard begins where a document would take the tokens past this (a longer document gets a shard of its own).
  std::uint64_t shard_bytes = std::uint64_t{256} << 20;
  std::uint64_t block_bytes = kShardBlockBytes;
};

class ShardWriter {
 public:
  // Shards are FOLDER/SPLIT-00000.shard and so on; the folder must exist.
  ShardWriter(std::filesystem::path folder, std::string split, const ShardWriterOptions& options);
  ~ShardWriter();  // without finish(): the shard being written is removed

  // tokens: at least one, each smaller than vocab_size; the last one is the end-of-document token, put there by the
  // caller.
  void add_document(std::span<const std::uint32_t> tokens);

  // Completes the last shard. What the manifest says of this split; text_bytes is the caller's count.
  SplitEntry finish(std::uint64_t text_bytes);

 private:
  class Shard;
  void finish_shard();

  std::filesystem::path folder_;
  ShardWriterOptions options_;
  SplitEntry entry_;
  std::unique_ptr<Shard> shard_;  // null between shards
};

}  // namespace trireme
