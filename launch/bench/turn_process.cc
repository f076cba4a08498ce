#include "launch/bench/turn_process.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

extern char** environ;

namespace trireme {
namespace {

// `child_in` and `child_out` become the process's standard input and output.
pid_t spawn(const std::vector<std::string>& command, int child_in, int child_out) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, child_out, STDOUT_FILENO);
  pid_t process = -1;
  const int error = posix_spawnp(&process, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw UserError("cannot start " + command[0] + ": " + std::strerror(error));
  return process;
}

}  // namespace

TurnProcess::TurnProcess(const std::vector<std::string>& command) {
  int questions[2], answers[2];
  CHECK(pipe2(questions, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0, std::strerror(errno));
  to_ = fdopen(questions[1], "w");
  from_ = fdopen(answers[0], "r");
  try {
    process_ = spawn(command, questions[0], answers[1]);
  } catch (const UserError&) {
    for (int end : {questions[0], answers[1]}) close(end);
    wait_for_end();
    throw;
  }
  for (int end : {questions[0], answers[1]}) close(end);
}

TurnProcess::~TurnProcess() { wait_for_end(); }

void TurnProcess::tell(const std::string& line) {
  std::fprintf(to_, "%s\n", line.c_str());
  std::fflush(to_);
}

std::optional<std::string> TurnProcess::answer() {
  std::string line;
  for (int byte = std::fgetc(from_); byte != '\n'; byte = std::fgetc(from_)) {
    if (byte == EOF) return std::nullopt;
    line.push_back(static_cast<char>(byte));
  }
  return line;
}

int TurnProcess::wait_for_end() {
  if (to_ != nullptr) std::fclose(to_);
  if (from_ != nullptr) std::fclose(from_);
  to_ = from_ = nullptr;
  int status = 0;
  if (process_ > 0)
    while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
  process_ = -1;
  return status;
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return "exit code " + std::to_string(WEXITSTATUS(status));
  return "signal " + std::to_string(WTERMSIG(status));
}

}  // namespace trireme
