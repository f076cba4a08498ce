// A checkpoint begins to exist by one rename, after all of it is durable; before, it is a hidden folder that the next
// attempt collects. These are the leader's last steps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/file_plan.h"
#include "trainer/checkpoint/manifest.h"

namespace trireme {

std::string checkpoint_name(std::int64_t step);  // "step-00000100"

// A tensor that some rank has written durably, and the digests of what it meant to write.
struct WrittenTensor {
  std::size_t file = 0;
  std::size_t entry = 0;
  std::vector<std::string> block_digests;
};
std::string encode_written(const std::vector<WrittenTensor>& written);
std::vector<WrittenTensor> decode_written(const std::string& text);

// `parts`: every rank's encode_written. Proves that they are every tensor once, writes config.json, tokenizer.json and
// the manifest into `temporary`, makes all durable, renames, and points LATEST (a hint) to it. Throws UserError.
void commit_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& temporary,
                       const CheckpointState& state, const std::vector<PlannedFile>& files,
                       const std::vector<std::string>& parts);

// Committed checkpoints, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

// Keeps the newest keep_last, those of keep_every, and all newer than `committed`.
void remove_old_checkpoints(const std::filesystem::path& folder, std::int64_t committed, const Retention& retention);

}  // namespace trireme
