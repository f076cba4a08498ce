// Mistakes planted in a kernel after nvcc compiled it, so that what is tested is the very binary that users get, and
// the kernels' sources know nothing of it. An edit changes one line of one kernel's PTX.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trireme::gpu {

struct PtxEdit {
  std::string_view kernel{};   // part of the mangled name of the entries that are edited
  std::string_view pattern{};  // ECMAScript, searched in a line of the entry's body
  int which = 0;               // of the lines in which it is found, from 0
  std::string_view replacement{};
};

// `ptx` with the edit made in each kernel that it names; nullopt where none has such a line.
std::optional<std::string> edited(std::string_view ptx, const PtxEdit& edit);

}  // namespace trireme::gpu
