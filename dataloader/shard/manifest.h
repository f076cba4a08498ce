// A folder of shards is a data set only when something says which files belong to it, in what order, and what their
// tokens mean. That is `manifest.textproto`: text, so that people can read it; its first line is a comment with the
// digest of the rest, so that a change is seen. `prepare` writes it last: a folder without it is not finished.
//
// Invariants of a DatasetManifest that was read: names are unique and plain file names, the sums are those of the
// shards, no count is zero, no sum overflows. Depends on the data alone (no time, no host, no number of threads).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

inline constexpr char kManifestFile[] = "manifest.textproto";

struct ShardEntry {
  std::string file;  // in the manifest's folder
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;
  std::uint64_t bytes = 0;
  std::string digest;  // 32 hexadecimal digits
  bool operator==(const ShardEntry&) const = default;
};

struct SplitEntry {
  std::string name;  // "train", "validation"
  std::uint64_t tokens = 0;
  std::uint64_t documents = 0;
  std::uint64_t text_bytes = 0;  // of UTF-8, without end-of-document tokens
  std::vector<ShardEntry> shards;
  bool operator==(const SplitEntry&) const = default;
};

struct DatasetManifest {
  std::string tokenizer_file;    // in the manifest's folder
  std::string tokenizer_sha256;  // 64 hexadecimal digits
  std::uint32_t vocab_size = 0;  // every token is smaller
  std::uint32_t end_of_document = 0;
  std::vector<SplitEntry> splits;
  bool operator==(const DatasetManifest&) const = default;
};

// The file's bytes, and back. `name` is for messages. Throws DamagedDataError: the digest is wrong, a field is unknown
// or impossible (with its line and column where there is one).
std::string manifest_text(const DatasetManifest& manifest);
DatasetManifest parse_manifest(std::string_view text, const std::string& name);

// Durable, and replaced whole. Throws UserError when the folder cannot be written.
void write_manifest(const std::filesystem::path& folder, const DatasetManifest& manifest);
// Throws UserError when the folder or its manifest is missing or unreadable, and what parse_manifest throws.
DatasetManifest read_manifest(const std::filesystem::path& folder);

}  // namespace trireme
