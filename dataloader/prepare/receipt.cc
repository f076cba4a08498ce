#include "dataloader/prepare/receipt.h"

#include <nlohmann/json.hpp>

#include "dataloader/prepare/byte_source.h"
#include "dataloader/prepare/records.h"
#include "dataloader/shard/dataset.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

ordered_json options_json(const PrepareOptions& options, const std::string& tokenizer_sha256) {
  return {{"vocab_size", options.vocab_size},
          {"tokenizer_sha256", tokenizer_sha256},
          {"text_field", options.text_field},
          {"separator", options.separator},
          {"validation_fraction", options.validation_fraction},
          {"seed", options.seed},
          {"end_of_document", options.end_of_document},
          {"tokenizer_text_bytes", options.tokenizer_text_bytes},
          {"shard_bytes", options.shard_bytes}};
}

ordered_json split_json(const PrepareSplit& split) {
  return {{"documents", split.documents}, {"tokens", split.tokens}, {"text_bytes", split.text_bytes}};
}

PrepareSplit split_of(const ordered_json& json) {
  return {json.at("documents").get<std::uint64_t>(), json.at("tokens").get<std::uint64_t>(),
          json.at("text_bytes").get<std::uint64_t>()};
}

PrepareSummary summary_of(const ordered_json& json) {
  PrepareSummary summary;
  summary.already_there = true;
  summary.vocab_size = json.at("vocab_size").get<std::int64_t>();
  summary.train = split_of(json.at("train"));
  summary.validation = split_of(json.at("validation"));
  summary.empty_documents = json.at("empty_documents").get<std::uint64_t>();
  summary.malformed_documents = json.at("malformed_documents").get<std::uint64_t>();
  return summary;
}

std::string shown(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// The digest of the file on the disk.
std::string digest_of(const std::filesystem::path& input) {
  const std::unique_ptr<ByteSource> source = ByteSource::open_raw(input);
  std::vector<char> block(std::size_t{1} << 20);
  while (source->read(block) > 0) {
  }
  return source->file_digest();
}

// What differs between the folder's receipt and these options; empty: nothing.
std::string difference(const ordered_json& receipt, const PrepareOptions& options,
                       const std::string& tokenizer_sha256) {
  const ordered_json mine = options_json(options, tokenizer_sha256);
  for (const auto& [name, value] : mine.items()) {
    const ordered_json& there = receipt.at("options").at(name);
    if (there != value) return "with " + name + " " + shown(there) + ", not " + shown(value);
  }
  const ordered_json& inputs = receipt.at("inputs");
  if (inputs.size() != options.inputs.size()) {
    return "from " + std::to_string(inputs.size()) + " inputs, not " + std::to_string(options.inputs.size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = options.inputs[i].filename().string();
    if (inputs[i].at("name") != name) {
      return "from " + shown(inputs[i].at("name")) + " where now " + shown(name) + " is given";
    }
    if (inputs[i].at("bytes") != std::filesystem::file_size(options.inputs[i]) ||
        inputs[i].at("xxh3_128") != digest_of(options.inputs[i])) {
      return "from another version of " + options.inputs[i].string();
    }
  }
  return "";
}

}  // namespace

std::string receipt_json(const PrepareOptions& options, const std::string& tokenizer_sha256,
                         const std::vector<std::string>& digests, const PrepareSummary& summary) {
  ordered_json inputs = ordered_json::array();
  for (std::size_t i = 0; i < options.inputs.size(); ++i) {
    inputs.push_back({{"name", options.inputs[i].filename().string()},
                      {"bytes", std::filesystem::file_size(options.inputs[i])},
                      {"xxh3_128", digests[i]}});
  }
  const ordered_json receipt = {{"format", kFormat},
                                {"options", options_json(options, tokenizer_sha256)},
                                {"inputs", inputs},
                                {"result",
                                 {{"vocab_size", summary.vocab_size},
                                  {"train", split_json(summary.train)},
                                  {"validation", split_json(summary.validation)},
                                  {"empty_documents", summary.empty_documents},
                                  {"malformed_documents", summary.malformed_documents}}}};
  return receipt.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::optional<PrepareSummary> prepared_before(const PrepareOptions& options, const std::string& tokenizer_sha256) {
  const std::filesystem::path& out = options.out;
  const std::string remedy = "; remove it, or choose another folder";
  std::error_code error;
  if (!std::filesystem::exists(out, error) && !error) return std::nullopt;
  if (error) throw UserError(out.string() + " cannot be looked at: " + error.message());
  if (!std::filesystem::is_directory(out)) throw UserError(out.string() + " exists and is not a folder" + remedy);
  if (std::filesystem::is_empty(out)) return std::nullopt;
  const FileBytes file = try_read_file(out / kReceiptFile, kMaxBytes);
  if (!file.problem.empty())
    throw UserError(out.string() + " exists and is not a folder of prepared data (" + kReceiptFile + ": " +
                    file.problem + ")" + remedy);
  try {
    const ordered_json receipt = ordered_json::parse(file.bytes);
    const std::string different =
        receipt.at("format") != kFormat ? "in another format" : difference(receipt, options, tokenizer_sha256);
    if (!different.empty()) throw UserError(out.string() + " exists and was made " + different + remedy);
    const Dataset whole(out);
    return summary_of(receipt.at("result"));
  } catch (const ordered_json::exception& wrong) {
    throw UserError((out / kReceiptFile).string() + " cannot be understood (" + wrong.what() + ")" + remedy);
  }
}

}  // namespace trireme
