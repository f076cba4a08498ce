#include "dataloader/shard/sealed_text.h"

#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <xxhash.h>

#include "monitoring/check.h"

namespace trireme {
namespace {

std::string digest_of(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    if (message_.empty()) message_ = fmt::format("line {}, column {}: {}", line + 2, column + 1, message);
  }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

}  // namespace

std::string sealed_text(std::string_view first_line, const google::protobuf::Message& message) {
  std::string body;
  CHECK(google::protobuf::TextFormat::PrintToString(message, &body), "protobuf cannot print the manifest");
  return fmt::format("{}{}\n{}", first_line, digest_of(body), body);
}

std::string read_sealed_text(std::string_view text, std::string_view first_line, google::protobuf::Message& message) {
  if (text.size() > kMaxSealedBytes) return "it is larger than a manifest can be";
  const std::size_t newline = text.find('\n');
  if (!text.starts_with(first_line) || newline == std::string_view::npos)
    return fmt::format("line 1 must begin with '{}', and the rest follow it", first_line);
  const std::string_view body = text.substr(newline + 1);
  if (text.substr(first_line.size(), newline - first_line.size()) != digest_of(body))
    return "what follows line 1 does not have the digest that line 1 states: the file was changed";
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  google::protobuf::io::ArrayInputStream stream(body.data(), static_cast<int>(body.size()));
  return parser.Parse(&stream, &message) ? "" : error.message();
}

}  // namespace trireme
