// Runs programs as a user would, for tests that hold the whole of Trireme against its promises.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/scratch.h"

namespace trireme {

struct CommandResult {
  int exit_code = 0;   // 128 + signal if it was killed
  std::string output;  // of stdout and stderr together
};
// Through /bin/sh, with MPI allowed to run as root.
CommandResult run_command(const std::string& command);
// "mpirun -n RANKS ..." before a program, quiet about its own troubles; nothing for 0 ranks.
std::string under_mpi(int ranks);

std::string quoted(const std::filesystem::path& path);

// A small corpus, prepared: FOLDER/data. Made of words of a tiny grammar by a fixed generator.
void prepare_small_corpus(const ScratchFolder& workspace);
// FOLDER/run.yaml: a model of two blocks that trains in milliseconds a step; `extra` is more YAML.
std::filesystem::path write_small_run(const ScratchFolder& workspace, const std::string& extra = "");

// "name sha256" of every file of a folder, sorted.
std::vector<std::string> digests(const std::filesystem::path& folder);

}  // namespace trireme
