// Every command that takes a configuration takes it alike: FILE, overridden by --set, for the ranks of --ranks.
#pragma once

#include <string>
#include <vector>

#include "launch/command_line/command.h"
#include "launch/config/load.h"

namespace trireme {

// To be kept in a shared_ptr, as all flags (commands.h).
struct ConfigurationFlags {
  std::string file;
  std::vector<std::string> overrides;
  int ranks = 0;  // 0: not given

  // Declares FILE (not required) and --set; `example` is one of its values: mesh.tp=2. Returns FILE's option.
  Flag add(Command& command, const std::string& example);
  // Declares --ranks, described so.
  void add_ranks(Command& command, const std::string& description);

  // Throws UserError that lists all problems.
  LoadedRun load() const;
};

}  // namespace trireme
