#include "tests/launch/end_to_end/command.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <sstream>
#include <stdexcept>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/paths.h"

namespace trireme {

namespace fs = std::filesystem;

CommandResult run_command(const std::string& command) {
  const std::string shell =
      "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; { " + command + "\n} 2>&1";
  std::FILE* pipe = popen(shell.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot start a shell");
  CommandResult result;
  std::array<char, 4096> buffer;
  for (std::size_t count = 0; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    result.output.append(buffer.data(), count);
  const int status = pclose(pipe);
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

std::string under_mpi(int ranks) {
  if (ranks == 0) return "";
  // Open MPI leaks, and has unloaded the plug-ins that did when LeakSanitizer looks: no suppression knows them by name.
  // What trireme itself leaks shows where it runs without mpirun.
  return "env ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe --bind-to none --mca orte_base_help_aggregate 1 -n " +
         std::to_string(ranks) + " ";
}

std::string quoted(const fs::path& path) { return "'" + path.string() + "'"; }

void prepare_small_corpus(const ScratchFolder& workspace) {
  constexpr std::array kWords = {"oar",  "bench", "drum",  "wind", "keel", "harbour",
                                 "rows", "turns", "beats", "the",  "a",    "over"};
  std::mt19937 random(20260222);
  std::string lines;
  for (int document = 0; document < 200; ++document) {
    lines += "{\"text\": \"";
    for (unsigned word = 0; word < 20 + random() % 60; ++word)
      lines += std::string(kWords[random() % kWords.size()]) + " ";
    lines += "\"}\n";
  }
  write_bytes(workspace / "corpus.jsonl", lines);
  const CommandResult result =
      run_command(quoted(TRIREME_BINARY) + " prepare " + quoted(workspace / "corpus.jsonl") + " --out " +
                  quoted(workspace / "data") + " --vocab-size 300 --validation 0.1");
  if (result.exit_code != 0) throw std::runtime_error(result.output);
}

fs::path write_small_run(const ScratchFolder& workspace, const std::string& extra) {
  const fs::path path = workspace / "run.yaml";
  write_bytes(path,
              "run: {dir: " + (workspace / "run").string() + ", threads: 1}\n" +
                  "data: {path: " + (workspace / "data").string() + "}\n" +
                  "model: {family: llama, layers: 2, hidden_size: 32, heads: 4, kv_heads: 2, sequence_length: 32,\n"
                  "        tied_embeddings: true, dropout: 0.1, attention_dropout: 0.1}\n"
                  "optimizer: {learning_rate: 3e-3, warmup_steps: 2}\n" +
                  extra);
  return path;
}

std::vector<std::string> digests(const fs::path& folder) {
  const CommandResult result = run_command("cd " + quoted(folder) + " && sha256sum *");
  if (result.exit_code != 0) throw std::runtime_error(result.output);
  std::istringstream lines(result.output);
  std::vector<std::string> all;
  for (std::string line; std::getline(lines, line);) all.push_back(line);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace trireme
