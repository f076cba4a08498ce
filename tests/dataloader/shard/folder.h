// Small data sets in temporary folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dataloader/shard/manifest.h"
#include "dataloader/shard/shard_writer.h"
#include "tests/scratch.h"

namespace trireme {

using Documents = std::vector<std::vector<std::uint32_t>>;

// Documents of the given lengths; tokens count up from 1 modulo vocab_size, and each document ends in token 0.
inline Documents counting_documents(const std::vector<int>& lengths, std::uint32_t vocab_size) {
  Documents documents;
  std::uint32_t token = 0;
  for (const int length : lengths) {
    std::vector<std::uint32_t>& document = documents.emplace_back();
    for (int i = 0; i + 1 < length; ++i) document.push_back(1 + token++ % (vocab_size - 1));
    document.push_back(0);
  }
  return documents;
}

inline SplitEntry write_split(const std::filesystem::path& folder, const std::string& split, const Documents& documents,
                              const ShardWriterOptions& options) {
  ShardWriter writer(folder, split, options);
  std::uint64_t text_bytes = 0;
  for (const auto& document : documents) {
    writer.add_document(document);
    text_bytes += 3 * (document.size() - 1);
  }
  return writer.finish(text_bytes);
}

inline void write_dataset(const std::filesystem::path& folder, const Documents& train, const Documents& validation,
                          const ShardWriterOptions& options) {
  DatasetManifest manifest;
  manifest.tokenizer_file = "tokenizer.json";
  manifest.tokenizer_sha256 = std::string(64, 'a');
  manifest.vocab_size = options.vocab_size;
  manifest.end_of_document = 0;
  manifest.splits = {write_split(folder, "train", train, options),
                     write_split(folder, "validation", validation, options)};
  write_manifest(folder, manifest);
}

}  // namespace trireme
