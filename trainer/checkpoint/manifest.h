// The manifest is the checkpoint: a folder is one only if its manifest says, with digests, what every byte of it must
// be. It is text, `manifest.textproto`, whose first line holds the digest of the rest.
// Digests are trees: those of each tensor's blocks, and the manifest's over all of them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "trainer/checkpoint/digest.h"
#include "trainer/checkpoint/manifest.pb.h"
#include "trainer/optim/progress.h"

namespace trireme {

inline constexpr char kCheckpointManifestFile[] = "manifest.textproto";

std::string checkpoint_manifest_text(const proto::CheckpointManifest& manifest);
// Throws DamagedDataError naming `name` and what is wrong: the digest, a field, a file name that leaves the folder.
proto::CheckpointManifest parse_checkpoint_manifest(std::string_view text, const std::string& name);
proto::CheckpointManifest read_checkpoint_manifest(const std::filesystem::path& folder);
OptimizerProgress progress_of(const proto::CheckpointManifest& manifest);

}  // namespace trireme
