#include "dataloader/shard/dataset.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "dataloader/shard/sha256.h"
#include "dataloader/tokenizer/tokenizer_json.h"
#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {

namespace {

void check_against_manifest(const Shard& shard, const ShardEntry& entry) {
  const auto differs = [&](const char* what, const auto& has, const auto& stated) {
    if (has != stated)
      throw DamagedDataError(fmt::format(
          "{}: the shard has {} {}, and the folder's manifest says {}. The file belongs to another data set: copy the "
          "folder whole, or run `trireme prepare` again.",
          shard.name(), what, has, stated));
  };
  differs("bytes:", shard.bytes(), entry.bytes);
  differs("tokens:", shard.tokens(), entry.tokens);
  differs("documents:", shard.documents(), entry.documents);
  differs("the digest", shard.digest().hex(), entry.digest);
}

}  // namespace

TokenStream::TokenStream(const std::filesystem::path& folder, const SplitEntry& entry, std::uint32_t vocab_size)
    : entry_(entry), vocab_size_(vocab_size) {
  for (const ShardEntry& shard : entry_.shards) {
    shards_.push_back(std::make_unique<Shard>(folder / shard.file));
    check_against_manifest(*shards_.back(), shard);
    begins_.push_back(begins_.back() + shard.tokens);
    documents_.push_back(documents_.back() + shard.documents);
  }
}

std::size_t TokenStream::shard_of(std::uint64_t token) const {
  return static_cast<std::size_t>(std::upper_bound(begins_.begin(), begins_.end(), token) - begins_.begin()) - 1;
}

void TokenStream::read(std::uint64_t begin, std::span<std::int32_t> out) const {
  CHECK(begin <= tokens() && out.size() <= tokens() - begin, begin, " + ", out.size(), " of ", tokens());
  while (!out.empty()) {
    const std::size_t shard = shard_of(begin);
    const std::size_t here = std::min<std::uint64_t>(out.size(), begins_[shard + 1] - begin);
    shards_[shard]->read(begin - begins_[shard], vocab_size_, out.first(here));
    out = out.subspan(here);
    begin += here;
  }
}

std::uint64_t TokenStream::ends_up_to(std::uint64_t position) const {
  if (position == tokens()) return documents_.back();
  const std::size_t shard = shard_of(position);
  return documents_[shard] + shards_[shard]->document_of(position - begins_[shard]);
}

std::uint64_t TokenStream::count_document_ends(std::uint64_t begin, std::uint64_t end) const {
  CHECK(begin <= end && end <= tokens(), begin, " to ", end, " of ", tokens());
  const std::uint64_t before = ends_up_to(begin);
  return std::max(ends_up_to(end), before) - before;
}

std::vector<std::uint64_t> TokenStream::document_ends(std::uint64_t begin, std::uint64_t end) const {
  const std::uint64_t count = count_document_ends(begin, end);
  std::vector<std::uint64_t> ends;
  if (count == 0) return ends;
  std::size_t shard = shard_of(begin);
  std::uint64_t document = ends_up_to(begin) - documents_[shard];
  for (std::uint64_t i = 0; i < count; ++i, ++document) {
    if (document == shards_[shard]->documents()) {
      ++shard;
      document = 0;
    }
    const std::uint64_t at = begins_[shard] + shards_[shard]->document_end(document);
    const std::uint64_t previous = ends.empty() ? begin : ends.back();
    if (at <= previous || at > end)
      throw DamagedDataError(fmt::format("{}: document {} ends at token {}, out of order. Run `trireme prepare` again.",
                                         shards_[shard]->name(), document, at - begins_[shard]));
    ends.push_back(at);
  }
  return ends;
}

Dataset::Dataset(const std::filesystem::path& folder) : folder_(folder), manifest_(read_manifest(folder)) {
  for (const SplitEntry& split : manifest_.splits)
    streams_.push_back(std::make_unique<TokenStream>(folder_, split, manifest_.vocab_size));
}

bool Dataset::has_split(std::string_view name) const {
  return std::any_of(manifest_.splits.begin(), manifest_.splits.end(), [&](const auto& s) { return s.name == name; });
}

const TokenStream& Dataset::split(std::string_view name) const {
  std::string names;
  for (const std::unique_ptr<TokenStream>& stream : streams_) {
    if (stream->entry().name == name) return *stream;
    names += (names.empty() ? "" : ", ") + stream->entry().name;
  }
  throw UserError(
      fmt::format("{}: there is no split '{}'; there is: {}.", folder_.string(), name, names.empty() ? "none" : names));
}

std::string Dataset::tokenizer_json() const {
  const std::filesystem::path path = folder_ / manifest_.tokenizer_file;
  std::string bytes = read_file(path, kMaxTokenizerJsonBytes, "Copy the folder whole, or run `trireme prepare` again.");
  if (const std::string digest = sha256_hex(bytes); digest != manifest_.tokenizer_sha256)
    throw DamagedDataError(fmt::format(
        "{}: its SHA-256 is {}, and the tokens beside it were made with {}. Restore the file, or run `trireme prepare` "
        "again.",
        path.string(), digest, manifest_.tokenizer_sha256));
  return bytes;
}

}  // namespace trireme
