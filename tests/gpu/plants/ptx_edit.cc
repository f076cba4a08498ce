#include "tests/gpu/plants/ptx_edit.h"

#include <regex>
#include <vector>

namespace trireme::gpu {
namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

std::optional<std::string> edited(std::string_view ptx, const PtxEdit& edit) {
  const std::regex pattern{std::string(edit.pattern)};
  std::vector<std::string> lines = lines_of(ptx);
  bool inside = false;
  int found = 0;
  int edits = 0;
  for (std::string& line : lines) {
    if (line.find(".entry ") != std::string::npos) {
      inside = line.find(edit.kernel) != std::string::npos;
      found = 0;
    } else if (inside && std::regex_search(line, pattern) && found++ == edit.which) {
      line = std::regex_replace(line, pattern, std::string(edit.replacement), std::regex_constants::format_first_only);
      ++edits;
    }
  }
  if (edits == 0) return std::nullopt;
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

}  // namespace trireme::gpu
