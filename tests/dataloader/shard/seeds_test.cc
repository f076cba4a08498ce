// Replays the fuzzers' seeds. They are committed; when the format changes, run Seeds.* with TRIREME_WRITE_SEEDS=1.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/dataloader/shard/exercise.h"
#include "tests/dataloader/shard/folder.h"
#include "tests/paths.h"

namespace trireme {

namespace {

const std::filesystem::path kHere = std::filesystem::path(TRIREME_SOURCE_DIR) / "tests/dataloader/shard";
const std::filesystem::path kShardSeeds = kHere / "shard_seeds";
const std::filesystem::path kManifestSeeds = kHere / "dataset_manifest_seeds";

void write_seeds() {
  const ScratchFolder folder;
  write_dataset(folder.path(), counting_documents({3, 1, 40, 9}, 900), {{1, 2, 0}},
                {.vocab_size = 900, .shard_bytes = 60, .block_bytes = 32});
  write_split(folder.path(), "wide", counting_documents({5, 30}, 100'000), {.vocab_size = 100'000, .block_bytes = 64});
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    const bool is_shard = file.path().extension() == ".shard";
    std::filesystem::copy_file(file.path(), (is_shard ? kShardSeeds : kManifestSeeds) / file.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  write_bytes(kShardSeeds / "empty", "");
  write_bytes(kShardSeeds / "header-only", read_bytes(folder.path() / "wide-00000.shard").substr(0, 64));
  write_bytes(kManifestSeeds / "empty", "");
  write_bytes(kManifestSeeds / "nested", "x\nsplits { shards { shards { splits {");
}

}  // namespace

TEST(Seeds, EverySeedEndsInValuesOrInDamagedDataError) {
  if (std::getenv("TRIREME_WRITE_SEEDS")) write_seeds();
  EXPECT_GE(replay_seeds(kShardSeeds, exercise_shard), 6);
  EXPECT_GE(replay_seeds(kManifestSeeds, exercise_manifest), 3);
}

}  // namespace trireme
