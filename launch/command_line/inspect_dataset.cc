#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "dataloader/shard/dataset.h"
#include "dataloader/tokenizer/tokenizer.h"
#include "launch/command_line/inspect.h"
#include "launch/command_line/output.h"
#include "monitoring/error.h"
#include "monitoring/log.h"
#include "monitoring/run_report.h"

namespace trireme {
namespace {

constexpr std::uint64_t kTokensAtOnce = 1 << 16;

// Writes the text of documents as their tokens come in, a piece at a time: what the tokenizer's template and prepare
// put around a text (prefix, suffix, end of document) is not text.
class DocumentText {
 public:
  DocumentText(const Tokenizer& tokenizer, TokenId end_of_document) : tokenizer_(tokenizer) {
    suffix_.assign(tokenizer.suffix().begin(), tokenizer.suffix().end());
    if (suffix_.empty() || suffix_.back() != end_of_document) suffix_.push_back(end_of_document);
  }

  // The tokens [begin, begin + tokens.size()) of a document of `length` tokens.
  void write(std::uint64_t begin, std::span<const std::int32_t> tokens, std::uint64_t length) {
    const std::uint64_t text_begin = tokenizer_.prefix().size();
    const std::uint64_t text_end = length - std::min<std::uint64_t>(length, suffix_.size());
    text_.clear();
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (begin + i >= text_begin && begin + i < text_end) text_ += tokenizer_.bytes(tokens[i]);
    }
    write_output(text_);
    bytes_ += text_.size();
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  const Tokenizer& tokenizer_;
  std::vector<TokenId> suffix_;
  std::string text_;
  std::uint64_t bytes_ = 0;
};

void write_text(const Dataset& dataset, const std::string& split) {
  const TokenStream& stream = dataset.split(split);
  const Tokenizer tokenizer =
      Tokenizer::parse(dataset.tokenizer_json(), (dataset.folder() / dataset.manifest().tokenizer_file).string());
  if (tokenizer.vocab_size() < dataset.manifest().vocab_size) {
    throw DamagedDataError(dataset.folder().string() + ": the tokenizer has fewer tokens than the manifest says");
  }
  DocumentText text(tokenizer, static_cast<TokenId>(dataset.manifest().end_of_document));
  std::vector<std::int32_t> tokens;
  for (const auto& shard : stream.shards()) {
    std::uint64_t begin = 0;
    for (std::uint64_t document = 0; document < shard->documents(); ++document) {
      const std::uint64_t end = shard->document_end(document);
      for (std::uint64_t at = begin; at < end; at += tokens.size()) {
        tokens.resize(std::min(end - at, kTokensAtOnce));
        shard->read(at, dataset.manifest().vocab_size, tokens);
        text.write(at - begin, tokens, end - begin);
      }
      begin = end;
    }
  }
  if (text.bytes() != stream.entry().text_bytes) {  // a tokenizer that drops or adds text says so here
    log_warning("{} bytes of text, and the corpus had {}: this tokenizer does not keep text as it is", text.bytes(),
                stream.entry().text_bytes);
  }
}

void verify(const Dataset& dataset) {
  double total = 0, done = 0;
  for (const SplitEntry& split : dataset.manifest().splits) {
    for (const ShardEntry& shard : split.shards) total += static_cast<double>(shard.bytes);
  }
  Progress progress("verifying", total, {.unit = ProgressUnit::kBytes});
  for (const SplitEntry& split : dataset.manifest().splits) {
    for (const auto& shard : dataset.split(split.name).shards()) {
      shard->verify();
      progress.update(done += static_cast<double>(shard->bytes()));
    }
  }
  progress.finish();
}

}  // namespace

void inspect_dataset(const std::filesystem::path& folder, const InspectOptions& options) {
  const Dataset dataset(folder);
  if (options.verify) verify(dataset);
  if (!options.text_of_split.empty()) return write_text(dataset, options.text_of_split);

  const DatasetManifest& manifest = dataset.manifest();
  Table table({"split", "documents", "tokens", "bytes of text", "bytes a token", "shards", "on the disk"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  for (const SplitEntry& split : manifest.splits) {
    double bytes = 0;
    for (const ShardEntry& shard : split.shards) bytes += static_cast<double>(shard.bytes);
    const double ratio = static_cast<double>(split.text_bytes) / static_cast<double>(split.tokens);
    table.row({split.name, exact_count(split.documents), exact_count(split.tokens), exact_count(split.text_bytes),
               fmt::format("{:.2f}", ratio), exact_count(split.shards.size()), human_bytes(bytes)});
  }
  dataset.tokenizer_json();  // is there, and is the one that made the tokens
  write_output(fmt::format("{}: a data set of {} different tokens; documents end with token {}\n", folder.string(),
                           exact_count(manifest.vocab_size), manifest.end_of_document));
  write_output(fmt::format("tokenizer: {}, sha256 {}\n", manifest.tokenizer_file, manifest.tokenizer_sha256));
  write_output(table.text());
  if (options.verify) write_output("Every block agrees with its checksum.\n");
}

void inspect_shard(const std::filesystem::path& file, const InspectOptions& options) {
  if (!options.text_of_split.empty()) {
    throw UserError("--text needs the data set's folder, not one shard: " + file.parent_path().string());
  }
  const Shard shard(file);
  if (options.verify) shard.verify();
  write_output(fmt::format("{}: a shard of {} tokens in {} documents, {}{}\n", file.string(),
                           exact_count(shard.tokens()), exact_count(shard.documents()),
                           human_bytes(static_cast<double>(shard.bytes())),
                           options.verify ? "; every block agrees with its checksum" : ""));
}

}  // namespace trireme
