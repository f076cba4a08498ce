// What a configuration is told, as text to match.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/config/load.h"
#include "monitoring/error.h"

namespace trireme {

// The message of the UserError that loading throws, "" if it loads.
inline std::string problems_of(const std::string& yaml, const std::vector<std::string>& overrides = {},
                               std::optional<int> ranks = std::nullopt) {
  try {
    load_run_text(yaml, "run.yaml", overrides, ranks);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

// The smallest sound configuration, to which a test adds its own lines.
inline const std::string kSound = "train: {steps: 10}\n";

}  // namespace trireme
