// YAML as a tree that remembers lines and columns, within limits. A configuration is small and flat; what is large,
// deep, or refers to itself (aliases can unfold a few bytes into gigabytes) is noise or an attack, and is refused
// before it costs anything.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/config/problems.h"

namespace trireme {

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };
  Kind kind = Kind::kNull;
  int line = 1, column = 1;        // where it starts, counted from 1
  std::string text;                // of a scalar
  bool in_quotes = false;          // a scalar written "so" or 'so': text, never a number
  std::vector<YamlNode> keys;      // of a mapping, in the file's order
  std::vector<YamlNode> children;  // values of a mapping (as many as keys), or items of a sequence
};

inline constexpr std::size_t kMaxConfigurationBytes = 256 * 1024;
inline constexpr int kMaxConfigurationDepth = 16;

// `file` is for messages only. Reports (and returns null for) text that is not UTF-8, not YAML, or beyond the limits. A
// mapping's duplicate keys are reported, and only the first is kept.
YamlNode parse_yaml(const std::string& file, std::string_view text, Problems& problems);

std::string location_of(const std::string& file, const YamlNode& node);  // "run.yaml:3:5"

}  // namespace trireme
