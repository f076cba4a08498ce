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

// `parts`: every rank's encode_written. Proves that they are every tensor once, writes config.json, tokenizer.json and
// the manifest into `temporary`, makes all durable, renames, reads the manifest at its place, and points LATEST (a
// hint) to it. A checkpoint of the same step is replaced. Throws UserError; then what was there before is there still.
void commit_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& temporary,
                       const CheckpointState& state, const std::vector<PlannedFile>& files,
                       const std::vector<std::string>& parts);

// Committed checkpoints, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

// Keeps the newest keep_last, those of keep_every, and all newer than `committed`.
void remove_old_checkpoints(const std::filesystem::path& folder, std::int64_t committed, const Retention& retention);

// Removes what attempts left unfinished; puts back a checkpoint that was moved aside and never replaced.
void collect_leftovers(const std::filesystem::path& folder);

// A writer of an earlier attempt that still lives, on a node thought dead, must not commit over a later one: throw
// UserError when `folder` has seen a higher attempt (claim), or any other (check).
void claim_attempt(const std::filesystem::path& folder, int attempt);
void check_attempt(const std::filesystem::path& folder, int attempt);

}  // namespace trireme
