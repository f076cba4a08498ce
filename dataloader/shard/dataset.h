// A split is one long stream of tokens; that it lies in many files is nobody's concern above this header. A Dataset
// opens a folder that `trireme prepare` made; a TokenStream is one split of it.
//
// Opening maps every shard and holds its header, checksums and digest against the manifest, so that a missing,
// truncated or exchanged file is found before training begins; tokens are verified as they are read
// (dataloader/shard/shard.h). The Dataset owns the maps and must outlive its streams' users. const functions may be
// called from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/shard/manifest.h"
#include "dataloader/shard/shard.h"

namespace trireme {

class TokenStream {
 public:
  TokenStream(const std::filesystem::path& folder, const SplitEntry& entry, std::uint32_t vocab_size);

  std::uint64_t tokens() const { return begins_.back(); }
  const SplitEntry& entry() const { return entry_; }
  std::span<const std::unique_ptr<Shard>> shards() const { return shards_; }

  // The tokens [begin, begin + out.size()); they must exist. Throws DamagedDataError.
  void read(std::uint64_t begin, std::span<std::int32_t> out) const;

  // Where documents end (the position after a document's last token): all ends e with begin < e <= end, increasing.
  // end <= tokens(). O(log) plus the answer. Throws DamagedDataError.
  std::vector<std::uint64_t> document_ends(std::uint64_t begin, std::uint64_t end) const;
  // How many these are. O(log).
  std::uint64_t count_document_ends(std::uint64_t begin, std::uint64_t end) const;

 private:
  std::size_t shard_of(std::uint64_t token) const;
  std::uint64_t ends_up_to(std::uint64_t position) const;  // the number of document ends e <= position

  SplitEntry entry_;
  std::uint32_t vocab_size_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::uint64_t> begins_{0};     // of each shard in the stream, in tokens; then the total
  std::vector<std::uint64_t> documents_{0};  // before each shard; then the total
};

class Dataset {
 public:
  // Throws UserError (no folder, no manifest, a missing shard) or DamagedDataError.
  explicit Dataset(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const DatasetManifest& manifest() const { return manifest_; }
  bool has_split(std::string_view name) const;
  // Throws UserError, naming the splits that there are.
  const TokenStream& split(std::string_view name) const;

  // The bytes of the folder's tokenizer.json, held against the manifest's SHA-256. Throws UserError when it is missing,
  // DamagedDataError when it is another tokenizer than the one that made the tokens.
  std::string tokenizer_json() const;

 private:
  std::filesystem::path folder_;
  DatasetManifest manifest_;
  std::vector<std::unique_ptr<TokenStream>> streams_;  // as manifest_.splits
};

}  // namespace trireme
