// The house has floors, and an include that runs up, or across to a sibling, ties together what was kept apart. These
// rules say of a single include whether it may stand; structure_test.cc walks the tree with them.
//
// Paths are relative to the root of the sources, with '/'. Everything here is pure but read_tree.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace trireme {

struct Include {
  std::string path;     // as written between the quotes or brackets
  bool quoted = false;  // "path", and not <path>
  int line = 0;         // from 1
};

struct SourceFile {
  std::string path;
  std::string text;
  std::vector<Include> includes;  // of .proto files: their imports
  int lines = 0;
};

// The includes of `text`, comments skipped.
std::vector<Include> scan_includes(const std::string& text);

// Why `file` may not include the project's own `included`; nothing if it may.
std::optional<std::string> forbidden_arrow(const std::string& file, const std::string& included);

// Files that must build with nothing but the standard library (and each other): they are the device floor's core, which
// must stand where none of our libraries do.
bool must_stand_alone(const std::string& file);
std::optional<std::string> forbidden_dependency(const std::string& file, const Include& include);

// Every C++, CUDA and protobuf source below the floors and tests/, sorted by path.
std::vector<SourceFile> read_tree(const std::filesystem::path& root);

// The floors, from the ground up.
const std::vector<std::string>& floors();

}  // namespace trireme
