#include "dataloader/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <initializer_list>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "dataloader/tokenizer/byte_alphabet.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxUnusedIds = 65536;

std::string excerpt(const json& value) {
  if (value.is_object() && value.contains("type") && value["type"].is_string()) {
    return "\"" + value["type"].get_ref<const std::string&>() + "\"";
  }
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

// A value and where it stands, so that every refusal can say both.
class Node {
 public:
  Node(const json& value, std::string path, const std::string& file)
      : value_(&value), path_(std::move(path)), file_(&file) {}

  const json& value() const { return *value_; }
  const std::string& path() const { return path_; }

  [[noreturn]] void refuse(const std::string& why) const {
    throw UserError(*file_ + ": " + (path_.empty() ? "the file" : path_) + ": " + why);
  }
  [[noreturn]] void refuse_value(const std::string& expected) const {
    refuse("is " + excerpt(*value_) + "; supported: " + expected);
  }

  bool has(const char* key) const { return value_->contains(key) && !(*value_)[key].is_null(); }
  Node operator[](const char* key) const {
    static const json kNull;
    const auto found = value_->find(key);
    return {found == value_->end() ? kNull : *found, path_.empty() ? key : path_ + "." + key, *file_};
  }
  std::vector<Node> elements() const {
    if (!value_->is_array()) refuse_value("an array");
    std::vector<Node> nodes;
    for (std::size_t i = 0; i < value_->size(); ++i) {
      nodes.push_back({(*value_)[i], path_ + "[" + std::to_string(i) + "]", *file_});
    }
    return nodes;
  }

  void expect_object(std::initializer_list<std::string_view> known) const {
    if (!value_->is_object()) refuse_value("an object");
    for (const auto& item : value_->items()) {
      if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
        refuse("has the field \"" + item.key() + "\", which is not known");
      }
    }
  }
  void expect_null(const char* remedy) const {
    if (!value_->is_null()) refuse("is " + excerpt(*value_) + ", which is not implemented" + remedy);
  }
  bool flag(bool absent) const {
    if (value_->is_null()) return absent;
    if (!value_->is_boolean()) refuse_value("true or false");
    return value_->get<bool>();
  }
  const std::string& text() const {
    if (!value_->is_string()) refuse_value("a string");
    return value_->get_ref<const std::string&>();
  }
  TokenId id() const {
    if (!value_->is_number_unsigned() || value_->get<std::uint64_t>() >= kMaxTokens) {
      refuse_value("a token id from 0 to " + std::to_string(kMaxTokens - 1));
    }
    return value_->get<TokenId>();
  }
  std::string type() const {
    if (!value_->is_object()) refuse_value("an object with a \"type\"");
    return (*this)["type"].text();
  }

 private:
  const json* value_;
  std::string path_;
  const std::string* file_;
};

using Vocabulary = std::unordered_map<std::string, TokenId>;

void read_vocabulary(const Node& node, TokenizerSpec& spec, Vocabulary& ids) {
  if (!node.value().is_object()) node.refuse_value("an object from token to id");
  for (const auto& [token, value] : node.value().items()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= kMaxTokens) {
      node.refuse("\"" + token + "\" is " + excerpt(value) + "; expected an id from 0 to " +
                  std::to_string(kMaxTokens - 1));
    }
    spec.vocabulary.emplace_back(token, value.get<TokenId>());
  }
  std::sort(spec.vocabulary.begin(), spec.vocabulary.end(),
            [](const auto& a, const auto& b) { return std::tie(a.second, a.first) < std::tie(b.second, b.first); });
  for (std::size_t i = 0; i + 1 < spec.vocabulary.size(); ++i) {
    if (spec.vocabulary[i].second == spec.vocabulary[i + 1].second) {
      node.refuse("\"" + spec.vocabulary[i].first + "\" and \"" + spec.vocabulary[i + 1].first + "\" share the id " +
                  std::to_string(spec.vocabulary[i].second));
    }
  }
  for (const auto& [token, id] : spec.vocabulary) ids.emplace(token, id);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string written = to_byte_alphabet(std::string(1, static_cast<char>(byte)));
    if (!ids.contains(written)) {
      node.refuse("has no token for byte " + std::to_string(byte) + " (written \"" + written +
                  "\"); only byte-level vocabularies, which have all 256, are supported");
    }
  }
}

void read_merges(const Node& node, const Vocabulary& ids, TokenizerSpec& spec) {
  for (const Node& merge : node.elements()) {
    std::string left, right;
    if (merge.value().is_string()) {
      const std::string& both = merge.text();
      const std::size_t space = both.find(' ');
      if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
        merge.refuse("is " + excerpt(merge.value()) + "; expected two tokens with one space between them");
      }
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else {
      const std::vector<Node> pair = merge.elements();
      if (pair.size() != 2) merge.refuse("has " + std::to_string(pair.size()) + " elements; expected two tokens");
      left = pair[0].text();
      right = pair[1].text();
    }
    const auto look_up = [&](const std::string& token) {
      const auto found = ids.find(token);
      if (found == ids.end()) merge.refuse("\"" + token + "\" is not in model.vocab");
      return found->second;
    };
    spec.merges.push_back({look_up(left), look_up(right), look_up(left + right)});
  }
}

void read_model(const Node& model, TokenizerSpec& spec, Vocabulary& ids) {
  if (model.has("type") && model.type() != "BPE") model["type"].refuse_value("BPE");
  model.expect_object({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                       "byte_fallback", "ignore_merges", "vocab", "merges"});
  const Node dropout = model["dropout"];
  if (!(dropout.value().is_number() && dropout.value().get<double>() == 0)) dropout.expect_null(": set it to null");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Node node = model[affix];
    if (!node.value().is_null() && !node.text().empty()) node.refuse_value("null or \"\"");
  }
  if (model["byte_fallback"].flag(false)) model["byte_fallback"].refuse_value("false (byte-level vocabularies)");
  model["fuse_unk"].flag(false);  // without effect: no byte is unknown
  if (model.has("unk_token")) model["unk_token"].text();
  spec.ignore_merges = model["ignore_merges"].flag(false);
  read_vocabulary(model["vocab"], spec, ids);
  read_merges(model["merges"], ids, spec);
}

void read_byte_level(const Node& node, TokenizerSpec& spec) {
  node.expect_object({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  spec.add_prefix_space = node["add_prefix_space"].flag(true);
  spec.byte_level_regex = node["use_regex"].flag(true);
}

void read_split(const Node& node, TokenizerSpec& spec) {
  node.expect_object({"type", "pattern", "behavior", "invert"});
  if (node["behavior"].text() != "Isolated") node["behavior"].refuse_value("\"Isolated\"");
  if (node["invert"].flag(false)) node["invert"].refuse_value("false");
  const Node pattern = node["pattern"];
  pattern.expect_object({"Regex", "String"});
  if (pattern.value().size() != 1) pattern.refuse("must have either \"Regex\" or \"String\"");
  const bool regex = pattern.has("Regex");
  const std::string& text = pattern[regex ? "Regex" : "String"].text();
  if (text.empty()) pattern.refuse("is empty");
  spec.splits.push_back({text, regex});
}

void read_pre_tokenizer(const Node& node, TokenizerSpec& spec) {
  if (node.value().is_null()) node.refuse_value("ByteLevel, or a Sequence of Split and ByteLevel");
  if (node.type() == "ByteLevel") return read_byte_level(node, spec);
  if (node.type() != "Sequence") node.refuse_value("ByteLevel, or a Sequence of Split and ByteLevel");
  node.expect_object({"type", "pretokenizers"});
  const std::vector<Node> parts = node["pretokenizers"].elements();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    if (parts[i].type() == "Split" && !last) {
      read_split(parts[i], spec);
    } else if (parts[i].type() == "ByteLevel" && last) {
      read_byte_level(parts[i], spec);
    } else {
      parts[i].refuse_value("any number of Split, then one ByteLevel at the end");
    }
  }
  if (parts.empty()) node.refuse("is an empty Sequence; its last element must be ByteLevel");
}

void read_template(const Node& node, TokenizerSpec& spec) {
  node.expect_object({"type", "single", "pair", "special_tokens"});
  bool past_text = false;
  for (const Node& piece : node["single"].elements()) {
    piece.expect_object({"SpecialToken", "Sequence"});
    if (piece.has("Sequence")) {
      if (past_text || piece["Sequence"]["id"].text() != "A") piece.refuse("must be sequence A, once");
      past_text = true;
      continue;
    }
    const std::string& name = piece["SpecialToken"]["id"].text();
    const Node known = node["special_tokens"];
    if (!known.value().is_object()) known.refuse_value("an object");
    const Node token = known[name.c_str()];
    if (!token.value().is_object()) piece.refuse("\"" + name + "\" is not among special_tokens");
    for (const Node& id : token["ids"].elements()) (past_text ? spec.suffix : spec.prefix).push_back(id.id());
  }
  if (!past_text) node["single"].refuse("has no sequence A");
}

void read_post_processor(const Node& node, TokenizerSpec& spec) {
  if (node.value().is_null()) return;
  const std::string type = node.type();
  if (type == "Sequence") {
    node.expect_object({"type", "processors"});
    for (const Node& part : node["processors"].elements()) {
      if (part.type() == "Sequence") part.refuse("is a Sequence within a Sequence, which is not supported");
      read_post_processor(part, spec);
    }
  } else if (type == "TemplateProcessing") {
    if (!spec.prefix.empty() || !spec.suffix.empty()) node.refuse("is a second TemplateProcessing; expected one");
    read_template(node, spec);
  } else if (type != "ByteLevel") {  // ByteLevel moves offsets only
    node.refuse_value("null, ByteLevel, TemplateProcessing, or a Sequence of these");
  }
}

void read_added_tokens(const Node& node, const Vocabulary& ids, TokenizerSpec& spec) {
  if (node.value().is_null()) return;
  std::unordered_map<TokenId, std::string> owner;
  for (const auto& [token, id] : ids) owner.emplace(id, token);
  for (const Node& item : node.elements()) {
    item.expect_object({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    if (item["single_word"].flag(false)) item["single_word"].refuse_value("false");
    AddedToken token;
    token.id = item["id"].id();
    token.content = item["content"].text();
    token.lstrip = item["lstrip"].flag(false);
    token.rstrip = item["rstrip"].flag(false);
    token.special = item["special"].flag(false);
    token.normalized = item["normalized"].flag(!token.special);
    const auto in_vocabulary = ids.find(token.content);
    if (in_vocabulary != ids.end() && in_vocabulary->second != token.id) {
      item.refuse("has id " + std::to_string(token.id) + ", but model.vocab says " +
                  std::to_string(in_vocabulary->second) + " for \"" + token.content + "\"");
    }
    const auto [other, fresh] = owner.emplace(token.id, token.content);
    if (!fresh && other->second != token.content) {
      item.refuse("has id " + std::to_string(token.id) + ", which belongs to \"" + other->second + "\"");
    }
    spec.added_tokens.push_back(std::move(token));
  }
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view bytes, const std::string& name) {
  if (bytes.size() > kMaxTokenizerJsonBytes) {
    throw UserError(name + " has " + std::to_string(bytes.size()) + " bytes; a tokenizer.json has at most " +
                    std::to_string(kMaxTokenizerJsonBytes));
  }
  json document;
  try {
    document = json::parse(bytes);
  } catch (const json::exception& error) {
    throw UserError(name + " is not valid JSON: " + error.what());
  }
  const Node root(document, "", name);
  root.expect_object({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                      "post_processor", "decoder", "model"});
  if (root.has("version") && root["version"].text() != "1.0") root["version"].refuse_value("\"1.0\"");
  root["truncation"].expect_null(": set it to null, training cuts texts itself");
  root["padding"].expect_null(": set it to null, training pads nothing");
  root["normalizer"].expect_null(": only tokenizers without one (GPT-2, Llama-3) are supported");

  TokenizerSpec spec;
  Vocabulary ids;
  read_model(root["model"], spec, ids);
  read_added_tokens(root["added_tokens"], ids, spec);
  read_pre_tokenizer(root["pre_tokenizer"], spec);
  read_post_processor(root["post_processor"], spec);
  const Node decoder = root["decoder"];
  if (decoder.value().is_null() || decoder.type() != "ByteLevel") decoder.refuse_value("ByteLevel");

  std::unordered_set<TokenId> known;
  for (const auto& [token, id] : spec.vocabulary) known.insert(id);
  for (const AddedToken& token : spec.added_tokens) known.insert(token.id);
  for (const TokenId id : known) {
    if (id >= 2 * known.size() + kMaxUnusedIds) {
      root.refuse("has the token id " + std::to_string(id) + " among only " + std::to_string(known.size()) +
                  " tokens; an embedding would need a row for every id below it: number the tokens without such gaps");
    }
  }
  for (const auto* list : {&spec.prefix, &spec.suffix}) {
    for (const TokenId id : *list) {
      if (!known.contains(id))
        root["post_processor"].refuse("adds token " + std::to_string(id) + ", which does not exist");
    }
  }
  return spec;
}

}  // namespace trireme
