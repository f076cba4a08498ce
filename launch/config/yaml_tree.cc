#include "launch/config/yaml_tree.h"

#include <cstdio>
#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

namespace trireme {
namespace {

// What stops the reading of a document at once, where `parse_yaml` reports it.
struct Stop {
  int line, column;
  std::string reason;
};

// Builds the tree from the parser's events. Open containers stand in `open_`; a closed one is handed to its parent.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}
  YamlNode take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) stop(mark, "a second document starts here; a configuration is one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    place(node(mark, YamlNode::Kind::kNull, "?", anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { stop(mark, kNoAliases); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode scalar = node(mark, YamlNode::Kind::kScalar, tag, anchor);
    scalar.text = value;
    scalar.in_quotes = tag == "!";
    place(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    enter(node(mark, YamlNode::Kind::kSequence, tag, anchor));
  }
  void OnSequenceEnd() override { leave(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    enter(node(mark, YamlNode::Kind::kMapping, tag, anchor));
  }
  void OnMapEnd() override { leave(); }

 private:
  struct Open {
    YamlNode container;
    std::optional<YamlNode> key;  // of a mapping, waiting for its value
  };
  static constexpr const char* kNoAliases = "anchors and aliases are not read here; write the value out";

  [[noreturn]] static void stop(const YAML::Mark& mark, const std::string& reason) {
    throw Stop{mark.line + 1, mark.column + 1, reason};
  }
  static YamlNode node(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) stop(mark, kNoAliases);
    if (!tag.empty() && tag != "?" && tag != "!")
      stop(mark, "the tag " + quote_text(tag) + " is not read here; leave it out");
    YamlNode made;
    made.kind = kind;
    made.line = mark.line + 1;
    made.column = mark.column + 1;
    return made;
  }
  void enter(YamlNode container) {
    if (open_.size() >= kMaxConfigurationDepth) {
      throw Stop{container.line, container.column,
                 "nested more than " + std::to_string(kMaxConfigurationDepth) +
                     " deep; a configuration has sections with fields"};
    }
    open_.push_back({std::move(container), std::nullopt});
  }
  void leave() {
    YamlNode done = std::move(open_.back().container);
    open_.pop_back();
    place(std::move(done));
  }
  void place(YamlNode done) {
    if (open_.empty()) {
      root_ = std::move(done);
      return;
    }
    Open& parent = open_.back();
    if (parent.container.kind == YamlNode::Kind::kSequence) {
      parent.container.children.push_back(std::move(done));
    } else if (!parent.key) {
      parent.key = std::move(done);
    } else {
      add_entry(parent, std::move(done));
    }
  }
  void add_entry(Open& parent, YamlNode value) {
    YamlNode key = std::move(*parent.key);
    parent.key.reset();
    for (const YamlNode& earlier : parent.container.keys) {
      if (key.kind == YamlNode::Kind::kScalar && earlier.kind == key.kind && earlier.text == key.text) {
        problems_.add(location_of(file_, key), "",
                      quote_text(key.text) + " stands here a second time; it was first in line " +
                          std::to_string(earlier.line) + ". Keep one of them");
        return;
      }
    }
    parent.container.keys.push_back(std::move(key));
    parent.container.children.push_back(std::move(value));
  }

  const std::string& file_;
  Problems& problems_;
  std::vector<Open> open_;
  YamlNode root_;
  int documents_ = 0;
};

// The length of the UTF-8 sequence at `text[i]`, or 0 if it is none (overlong forms and surrogates included).
std::size_t utf8_length(std::string_view text, std::size_t i) {
  auto byte = [&](std::size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
  auto continues = [&](std::size_t k) { return (byte(k) & 0xC0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    const unsigned code = (first & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
    return code >= 0x800 && (code < 0xD800 || code > 0xDFFF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    const unsigned code = (first & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
    return code >= 0x10000 && code <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

void require_text(std::string_view text) {
  int line = 1, column = 1;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = utf8_length(text, i);
    if (length == 0 || (byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7F) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "0x%02x", static_cast<unsigned>(byte));
      throw Stop{line, column, std::string("byte ") + hex + " is not text in UTF-8; is this a configuration in YAML?"};
    }
    i += length;
    if (byte == '\n') {
      ++line;
      column = 1;
    } else {
      ++column;
    }
  }
}

}  // namespace

std::string location_of(const std::string& file, const YamlNode& node) {
  return file + ":" + std::to_string(node.line) + ":" + std::to_string(node.column);
}

YamlNode parse_yaml(const std::string& file, std::string_view text, Problems& problems) {
  auto report = [&](int line, int column, const std::string& reason) {
    YamlNode at;
    at.line = line;
    at.column = column;
    problems.add(location_of(file, at), "", reason);
    return YamlNode{};
  };
  try {
    if (text.size() > kMaxConfigurationBytes) {
      throw Stop{1, 1,
                 std::to_string(text.size()) + " bytes; a configuration has at most " +
                     std::to_string(kMaxConfigurationBytes)};
    }
    require_text(text);
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    TreeBuilder builder(file, problems);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take_root();
  } catch (const Stop& at) {
    return report(at.line, at.column, at.reason);
  } catch (const YAML::Exception& error) {
    return report(error.mark.line + 1, error.mark.column + 1, "not YAML: " + error.msg);
  }
}

}  // namespace trireme
