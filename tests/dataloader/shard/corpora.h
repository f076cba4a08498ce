// Data sets to draw from in property tests. Each is written once a process, for making files durable takes long.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "dataloader/shard/dataset.h"
#include "tests/dataloader/shard/folder.h"

namespace trireme {

// A stream in memory beside the same one on disk, in several shards of several blocks; both splits hold it. Token 0
// ends each document.
struct Corpus {
  Corpus(const std::vector<int>& lengths, std::uint32_t vocab) : vocab_size(vocab) {
    const Documents documents = counting_documents(lengths, vocab_size);
    write_dataset(folder.path(), documents, documents,
                  {.vocab_size = vocab_size, .shard_bytes = 1500, .block_bytes = 64});
    for (const auto& document : documents) {
      tokens.insert(tokens.end(), document.begin(), document.end());
      ends.push_back(tokens.size());
    }
    dataset = std::make_unique<Dataset>(folder.path());
  }
  const TokenStream& train() const { return dataset->split("train"); }

  ScratchFolder folder;
  std::uint32_t vocab_size;
  std::vector<std::int32_t> tokens;
  std::vector<std::uint64_t> ends;
  std::unique_ptr<Dataset> dataset;
};

constexpr int kCorpora = 8;

inline const Corpus& corpus(int which) {
  static std::unique_ptr<Corpus> made[kCorpora];
  if (!made[which]) {
    std::mt19937 random(static_cast<unsigned>(which));
    const int longest[kCorpora] = {1, 2, 9, 60, 60, 150, 700, 2000};  // documents of 1 token to this many
    const std::uint32_t vocab_sizes[kCorpora] = {300, 300, 65536, 65537, 300, 300, 1u << 20, 300};
    std::vector<int> lengths;
    for (int total = 0; total < 2000; total += lengths.back())
      lengths.push_back(1 + static_cast<int>(random() % static_cast<unsigned>(longest[which])));
    made[which] = std::make_unique<Corpus>(lengths, vocab_sizes[which]);
  }
  return *made[which];
}

}  // namespace trireme
