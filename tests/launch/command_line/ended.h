// A run of the program within the test: its exit code and what it wrote; and a configuration to run it on.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "launch/command_line/commands.h"
#include "tests/scratch.h"

namespace trireme {

struct Ended {
  int exit_code;
  std::string output, errors;
};

inline Ended run(const std::vector<std::string>& arguments) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int exit_code = run_program(arguments);
  std::string output = testing::internal::GetCapturedStdout();
  return {exit_code, std::move(output), testing::internal::GetCapturedStderr()};
}

// The path of a configuration that says `yaml`; until the next.
inline std::string file_of(const std::string& yaml) {
  static const ScratchFolder folder;
  write_bytes(folder / "run.yaml", yaml);
  return (folder / "run.yaml").string();
}

}  // namespace trireme
