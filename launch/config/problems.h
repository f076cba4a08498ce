// Somebody who mistyped three fields wants to hear of three, not of one and then, a minute later, of the next. So
// reading, resolving and validating a configuration collect what is wrong here, each with its place and its reason, and
// throw once.
//
// Invariant: a field that is already known to be wrong takes part in no further check (`concerns`), so that one mistake
// makes one line.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme {

class Problems {
 public:
  // `location`: "run.yaml:3:5", "--set a.b=c" or a file; `path`: the field, "model.heads", or "" when it is about no
  // field.
  void add(const std::string& location, const std::string& path, const std::string& reason);
  bool concerns(std::string_view path) const;  // the field itself, or the section it is in, has a problem
  bool empty() const { return lines_.empty(); }
  std::size_t size() const { return lines_.size(); }
  std::vector<std::string> lines() const;  // "location: path: reason", in the file's order, then those of --set
  void throw_if_any() const;               // UserError that lists them all

 private:
  struct Line {
    std::pair<int, int> place;  // line, column
    std::string text;
  };
  std::vector<Line> lines_;
  std::set<std::string, std::less<>> paths_;
};

// Of `valid`, the name that `name` was most likely meant to be, by edit distance (with swapped neighbours); "" if none
// is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& valid);

// `text` in double quotes, control characters escaped, cut to a length that fits a message.
std::string quote_text(std::string_view text);

}  // namespace trireme
