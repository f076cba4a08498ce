#include <nlohmann/json.hpp>

#include "dataloader/tokenizer/tokenizer_json.h"
#include "monitoring/check.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;

ordered_json pre_tokenizer(const TokenizerSpec& spec) {
  ordered_json byte_level = {{"type", "ByteLevel"},
                             {"add_prefix_space", spec.add_prefix_space},
                             {"trim_offsets", true},
                             {"use_regex", spec.byte_level_regex}};
  if (spec.splits.empty()) return byte_level;
  ordered_json parts = ordered_json::array();
  for (const SplitSpec& split : spec.splits) {
    parts.push_back({{"type", "Split"},
                     {"pattern", {{split.regex ? "Regex" : "String", split.pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  parts.push_back(byte_level);
  return {{"type", "Sequence"}, {"pretokenizers", parts}};
}

ordered_json post_processor(const TokenizerSpec& spec, const std::vector<std::string>& token_of) {
  ordered_json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}};
  if (spec.prefix.empty() && spec.suffix.empty()) return byte_level;
  ordered_json special = ordered_json::object();
  const auto pieces = [&](ordered_json sequence, int type_id, ordered_json& out) {
    const auto add = [&](TokenId id) {
      const std::string& name = token_of[id];
      special[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
      out.push_back({{"SpecialToken", {{"id", name}, {"type_id", type_id}}}});
    };
    for (const TokenId id : spec.prefix) add(id);
    out.push_back(std::move(sequence));
    for (const TokenId id : spec.suffix) add(id);
  };
  ordered_json single = ordered_json::array(), pair = ordered_json::array();
  pieces({{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, 0, single);
  pieces({{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, 0, pair);
  pieces({{"Sequence", {{"id", "B"}, {"type_id", 1}}}}, 1, pair);
  ordered_json processing = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
  return {{"type", "Sequence"}, {"processors", {byte_level, processing}}};
}

std::string quoted(const std::string& text) { return ordered_json(text).dump(); }

}  // namespace

std::string write_tokenizer_json(const TokenizerSpec& spec) {
  std::vector<std::string> token_of;
  const auto name = [&](TokenId id, const std::string& token) {
    if (token_of.size() <= id) token_of.resize(id + 1);
    token_of[id] = token;
  };
  for (const auto& [token, id] : spec.vocabulary) name(id, token);
  ordered_json added = ordered_json::array();
  for (const AddedToken& token : spec.added_tokens) {
    name(token.id, token.content);
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", false},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  const ordered_json head = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", pre_tokenizer(spec)},
      {"post_processor", post_processor(spec, token_of)},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}}};
  std::string out = head.dump(2);
  // The model is long and flat: one token and one merge a line, without a document of it in memory.
  CHECK(out.ends_with("\n}"), "the JSON writer closes objects otherwise");
  out.resize(out.size() - 2);
  out += ",\n  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n";
  out += "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n";
  out += "    \"byte_fallback\": false,\n    \"ignore_merges\": ";
  out += spec.ignore_merges ? "true" : "false";
  out += ",\n    \"vocab\": {";
  for (std::size_t i = 0; i < spec.vocabulary.size(); ++i) {
    out += i == 0 ? "\n" : ",\n";
    out += "      " + quoted(spec.vocabulary[i].first) + ": " + std::to_string(spec.vocabulary[i].second);
  }
  out += "\n    },\n    \"merges\": [";
  for (std::size_t i = 0; i < spec.merges.size(); ++i) {
    out += i == 0 ? "\n" : ",\n";
    const std::string& left = token_of[spec.merges[i].left];
    const std::string& right = token_of[spec.merges[i].right];
    // "a b" is read by every version of the library, but a token with a space in it needs the newer form.
    if ((left + right).find(' ') == std::string::npos) {
      out.append("      ").append(quoted(left + " " + right));
    } else {
      out.append("      [").append(quoted(left)).append(", ").append(quoted(right)).append("]");
    }
  }
  out += "\n    ]\n  }\n}\n";
  return out;
}

}  // namespace trireme
