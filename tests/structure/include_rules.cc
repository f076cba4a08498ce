#include "tests/structure/include_rules.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace trireme {
namespace {

const std::map<std::string, std::set<std::string>>& floors_below() {
  static const std::map<std::string, std::set<std::string>> below = {
      {"monitoring", {}},
      {"cuda", {"monitoring"}},
      {"dataloader", {"monitoring"}},
      {"parallel", {"monitoring", "cuda", "dataloader"}},
      {"trainer", {"monitoring", "cuda", "dataloader", "parallel"}},
      {"launch", {"monitoring", "cuda", "dataloader", "parallel", "trainer"}},
  };
  return below;
}

std::string top_folder(const std::string& path) { return path.substr(0, path.find('/')); }

bool starts_with_any(const std::string& path, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& prefix) { return path.starts_with(prefix); });
}

// C++20's headers, and C's under either name.
const std::set<std::string>& standard_headers() {
  static const std::set<std::string> headers = [] {
    std::set<std::string> names = {"algorithm",
                                   "any",
                                   "array",
                                   "atomic",
                                   "barrier",
                                   "bit",
                                   "bitset",
                                   "charconv",
                                   "chrono",
                                   "codecvt",
                                   "compare",
                                   "complex",
                                   "concepts",
                                   "condition_variable",
                                   "coroutine",
                                   "deque",
                                   "exception",
                                   "execution",
                                   "filesystem",
                                   "forward_list",
                                   "fstream",
                                   "functional",
                                   "future",
                                   "initializer_list",
                                   "iomanip",
                                   "ios",
                                   "iosfwd",
                                   "iostream",
                                   "istream",
                                   "iterator",
                                   "latch",
                                   "limits",
                                   "list",
                                   "locale",
                                   "map",
                                   "memory",
                                   "memory_resource",
                                   "mutex",
                                   "new",
                                   "numbers",
                                   "numeric",
                                   "optional",
                                   "ostream",
                                   "queue",
                                   "random",
                                   "ranges",
                                   "ratio",
                                   "regex",
                                   "scoped_allocator",
                                   "semaphore",
                                   "set",
                                   "shared_mutex",
                                   "source_location",
                                   "span",
                                   "sstream",
                                   "stack",
                                   "stdexcept",
                                   "stop_token",
                                   "streambuf",
                                   "string",
                                   "string_view",
                                   "syncstream",
                                   "system_error",
                                   "thread",
                                   "tuple",
                                   "type_traits",
                                   "typeindex",
                                   "typeinfo",
                                   "unordered_map",
                                   "unordered_set",
                                   "utility",
                                   "valarray",
                                   "variant",
                                   "vector",
                                   "version"};
    for (const std::string c :
         {"assert", "ctype",  "errno",  "fenv",  "float",  "inttypes", "limits", "locale", "math",  "setjmp", "signal",
          "stdarg", "stddef", "stdint", "stdio", "stdlib", "string",   "time",   "uchar",  "wchar", "wctype"}) {
      names.insert("c" + c);
      names.insert(c + ".h");
    }
    return names;
  }();
  return headers;
}

}  // namespace

const std::vector<std::string>& floors() {
  static const std::vector<std::string> names = {"monitoring", "cuda", "dataloader", "parallel", "trainer", "launch"};
  return names;
}

std::vector<Include> scan_includes(const std::string& text) {
  static const std::regex include(R"re(^\s*(?:#\s*include|import(?:\s+public)?)\s*(["<])([^">]+)[">].*)re");
  std::vector<Include> found;
  std::istringstream lines(text);
  std::string line;
  bool in_comment = false;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (in_comment) {
      in_comment = line.find("*/") == std::string::npos;
      continue;
    }
    std::smatch match;
    if (std::regex_match(line, match, include)) {
      found.push_back({.path = match[2], .quoted = match[1] == "\"", .line = number});
    } else if (const auto open = line.find("/*"); open != std::string::npos) {
      in_comment = line.find("*/", open + 2) == std::string::npos && line.find("//") > open;
    }
  }
  return found;
}

std::optional<std::string> forbidden_arrow(const std::string& file, const std::string& included) {
  const std::string from = top_folder(file);
  const std::string to = top_folder(included);
  if (from == "tests") return std::nullopt;
  if (to == "tests") return "tests/ sees everything, and nobody sees it";
  if (to.starts_with("google")) return std::nullopt;  // protobuf's own imports
  const auto below = floors_below().find(from);
  if (below == floors_below().end()) return from + "/ is no floor";
  if (floors_below().count(to) == 0) return "write the path from the root of the sources, with its floor";
  if (from == to || below->second.count(to) > 0) return std::nullopt;
  if (floors_below().at(to).count(from) > 0) return to + "/ lies above " + from + "/";
  return to + "/ and " + from + "/ are siblings";
}

bool must_stand_alone(const std::string& file) {
  if (file.ends_with("_test.cc")) return false;  // GoogleTest's side of the walk
  return starts_with_any(file, {"cuda/core/", "cuda/ops/", "tests/cuda/oracle/", "tests/cuda/parity/",
                                "monitoring/check.", "monitoring/error."});
}

std::optional<std::string> forbidden_dependency(const std::string& file, const Include& include) {
  if (!must_stand_alone(file)) return std::nullopt;
  if (include.quoted) {
    if (must_stand_alone(include.path)) return std::nullopt;
    return include.path + " may need more than the standard library";
  }
  if (standard_headers().count(include.path) > 0) return std::nullopt;
  return "<" + include.path + "> is not the standard library's";
}

std::vector<SourceFile> read_tree(const std::filesystem::path& root) {
  static const std::set<std::string> extensions = {".h", ".cc", ".cu", ".cuh", ".proto"};
  std::vector<std::string> folders = floors();
  folders.push_back("tests");
  std::vector<SourceFile> files;
  for (const auto& folder : folders) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || extensions.count(entry.path().extension().string()) == 0) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      const auto lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
      auto includes = scan_includes(text);
      files.push_back({.path = std::filesystem::relative(entry.path(), root).generic_string(),
                       .text = std::move(text),
                       .includes = std::move(includes),
                       .lines = lines});
    }
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

}  // namespace trireme
