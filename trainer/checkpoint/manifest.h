// The manifest is the checkpoint: a folder is one only if its manifest says, with digests, what every byte of it must
// be. It is text, `manifest.textproto`, whose first line holds the digest of the rest.
//
// Digests are trees: XXH3-128 of each block of kDigestBlockBytes of a tensor's bytes, and the manifest's digest over
// all of them, so that ranks hash apart and damage is located to a block.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/manifest.pb.h"

namespace trireme {

inline constexpr char kCheckpointManifestFile[] = "manifest.textproto";
inline constexpr std::size_t kDigestBlockBytes = std::size_t{1} << 20;

std::string digest_of(std::span<const std::byte> bytes);  // 32 hexadecimal digits
std::vector<std::string> block_digests(std::span<const std::byte> bytes);

std::string checkpoint_manifest_text(const proto::CheckpointManifest& manifest);
// Throws DamagedDataError naming `name` and what is wrong: the digest, a field, a file name that leaves the folder.
proto::CheckpointManifest parse_checkpoint_manifest(std::string_view text, const std::string& name);
proto::CheckpointManifest read_checkpoint_manifest(const std::filesystem::path& folder);

}  // namespace trireme
