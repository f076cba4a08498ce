// Replays the fuzzers' seeds. They are committed; when the format changes, run this test with TRIREME_WRITE_SEEDS=1.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/dataloader/shard/exercise.h"
#include "tests/dataloader/shard/folder.h"

namespace trireme {

namespace {

const std::filesystem::path kCorpus = std::filesystem::path(TRIREME_SOURCE_DIR) / "tests/dataloader/shard/corpus";

void write_seeds() {
  const TemporaryFolder folder;
  write_dataset(folder.path(), counting_documents({3, 1, 40, 9}, 900), {{1, 2, 0}},
                {.vocab_size = 900, .shard_bytes = 60, .block_bytes = 32});
  write_split(folder.path(), "wide", counting_documents({5, 30}, 100'000), {.vocab_size = 100'000, .block_bytes = 64});
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    const bool is_shard = file.path().extension() == ".shard";
    std::filesystem::copy_file(file.path(), kCorpus / (is_shard ? "shard" : "manifest") / file.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  write_bytes(kCorpus / "shard" / "empty", "");
  write_bytes(kCorpus / "shard" / "header-only", read_bytes(folder.path() / "wide-00000.shard").substr(0, 64));
  write_bytes(kCorpus / "manifest" / "empty", "");
  write_bytes(kCorpus / "manifest" / "nested", "x\nsplits { shards { shards { splits {");
}

template <class Exercise>
int replay(const char* folder, const Exercise& exercise) {
  int seeds = 0;
  for (const auto& seed : std::filesystem::directory_iterator(kCorpus / folder)) {
    const std::string bytes = read_bytes(seed.path());
    exercise({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    ++seeds;
  }
  return seeds;
}

}  // namespace

TEST(Corpus, EverySeedEndsInValuesOrInDamagedDataError) {
  if (std::getenv("TRIREME_WRITE_SEEDS")) write_seeds();
  EXPECT_GE(replay("shard", exercise_shard), 6);
  EXPECT_GE(replay("manifest", exercise_manifest), 3);
}

}  // namespace trireme
