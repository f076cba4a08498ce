#include "dataloader/shard/manifest.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "dataloader/shard/durable_file.h"
#include "dataloader/shard/manifest.pb.h"
#include "dataloader/shard/sealed_text.h"
#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {

namespace {

constexpr std::uint32_t kManifestVersion = 1;
constexpr std::string_view kFirstLine = "# trireme data set; XXH3-128 of what follows: ";
constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 60;  // so that no sum or product of counts overflows

[[noreturn]] void damaged(const std::string& name, const std::string& what) {
  throw DamagedDataError(
      fmt::format("{}: {}. Restore the file from a copy, or run `trireme prepare` again.", name, what));
}

bool is_hex(const std::string& text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void check_file_name(const std::string& file, const std::string& name) {
  const bool plain = !file.empty() && file != "." && file != ".." && file.find('/') == std::string::npos &&
                     std::none_of(file.begin(), file.end(), [](unsigned char c) { return c < 0x20; });
  if (!plain) damaged(name, fmt::format("'{}' is not the name of a file in this folder", file));
}

ShardEntry from_proto(const proto::DatasetShard& in, const std::string& name) {
  check_file_name(in.file(), name);
  if (in.tokens() == 0 || in.tokens() > kMaxTokens || in.documents() == 0 || in.documents() > in.tokens())
    damaged(name, fmt::format("shard {} has {} tokens and {} documents", in.file(), in.tokens(), in.documents()));
  if (!is_hex(in.digest(), 32)) damaged(name, fmt::format("shard {} has no digest of 32 digits", in.file()));
  return {in.file(), in.tokens(), in.documents(), in.bytes(), in.digest()};
}

SplitEntry from_proto(const proto::DatasetSplit& in, const std::string& name) {
  SplitEntry out{in.name(), in.tokens(), in.documents(), in.text_bytes(), {}};
  if (out.name.empty()) damaged(name, "a split has no name");
  std::uint64_t tokens = 0, documents = 0;
  for (const proto::DatasetShard& shard : in.shards()) {
    out.shards.push_back(from_proto(shard, name));
    tokens += out.shards.back().tokens;
    documents += out.shards.back().documents;
    if (tokens > kMaxTokens) damaged(name, fmt::format("split {} has too many tokens", out.name));
  }
  if (tokens != out.tokens || documents != out.documents)
    damaged(name, fmt::format("split {} has {} tokens and {} documents, and its shards have {} and {}", out.name,
                              out.tokens, out.documents, tokens, documents));
  return out;
}

}  // namespace

std::string manifest_text(const DatasetManifest& manifest) {
  proto::DatasetManifest out;
  out.set_version(kManifestVersion);
  out.set_tokenizer_file(manifest.tokenizer_file);
  out.set_tokenizer_sha256(manifest.tokenizer_sha256);
  out.set_vocab_size(manifest.vocab_size);
  out.set_end_of_document(manifest.end_of_document);
  for (const SplitEntry& split : manifest.splits) {
    proto::DatasetSplit& split_out = *out.add_splits();
    split_out.set_name(split.name);
    split_out.set_tokens(split.tokens);
    split_out.set_documents(split.documents);
    split_out.set_text_bytes(split.text_bytes);
    for (const ShardEntry& shard : split.shards) {
      proto::DatasetShard& shard_out = *split_out.add_shards();
      shard_out.set_file(shard.file);
      shard_out.set_tokens(shard.tokens);
      shard_out.set_documents(shard.documents);
      shard_out.set_bytes(shard.bytes);
      shard_out.set_digest(shard.digest);
    }
  }
  return sealed_text(kFirstLine, out);
}

DatasetManifest parse_manifest(std::string_view text, const std::string& name) {
  proto::DatasetManifest in;
  if (const std::string problem = read_sealed_text(text, kFirstLine, in); !problem.empty()) damaged(name, problem);
  if (in.version() != kManifestVersion)
    damaged(name, fmt::format("this manifest has version {}, and this program reads version {}", in.version(),
                              kManifestVersion));
  DatasetManifest out{in.tokenizer_file(), in.tokenizer_sha256(), in.vocab_size(), in.end_of_document(), {}};
  check_file_name(out.tokenizer_file, name);
  if (!is_hex(out.tokenizer_sha256, 64)) damaged(name, "tokenizer_sha256 must have 64 hexadecimal digits");
  if (out.vocab_size == 0 || out.vocab_size > 1u << 31 || out.end_of_document >= out.vocab_size)
    damaged(name, fmt::format("vocab_size is {} and end_of_document {}", out.vocab_size, out.end_of_document));

  std::set<std::string> names, files{out.tokenizer_file, kManifestFile};
  for (const proto::DatasetSplit& split : in.splits()) {
    out.splits.push_back(from_proto(split, name));
    if (!names.insert(split.name()).second) damaged(name, fmt::format("split {} is there twice", split.name()));
    for (const ShardEntry& shard : out.splits.back().shards)
      if (!files.insert(shard.file).second) damaged(name, fmt::format("file {} is there twice", shard.file));
  }
  return out;
}

void write_manifest(const std::filesystem::path& folder, const DatasetManifest& manifest) {
  const std::string text = manifest_text(manifest);
  CHECK(parse_manifest(text, kManifestFile) == manifest, text);
  write_file_durably(folder / kManifestFile, text);
}

DatasetManifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestFile;
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    throw UserError(fmt::format("{}: there is no such folder. Make it with `trireme prepare INPUT... --out {}`.",
                                folder.string(), folder.string()));
  return parse_manifest(read_file(path, kMaxSealedBytes,
                                  "A folder of shards has it when `trireme prepare` is done; run it, or point "
                                  "data.path to another folder."),
                        path.string());
}

}  // namespace trireme
