#include "launch/bench/peer_steps.h"

#include <cerrno>
#include <cstring>
#include <sstream>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

extern char** environ;

namespace trireme {
namespace {

constexpr const char* kScript = "tests/peers/gpt_step.py";
constexpr int kNoPyTorch = 3;  // the script's exit code
constexpr const char* kReady = "ready ";

// `child_in` and `child_out` become the process's standard input and output.
pid_t spawn(const std::vector<std::string>& arguments, int child_in, int child_out) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child_in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, child_out, STDOUT_FILENO);
  pid_t process = -1;
  const int error = posix_spawn(&process, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw UserError("cannot start " + arguments[0] + ": " + std::strerror(error));
  return process;
}

}  // namespace

std::filesystem::path find_peer_script() {
  std::error_code ignored;
  for (std::filesystem::path from :
       {std::filesystem::current_path(ignored), std::filesystem::read_symlink("/proc/self/exe", ignored)})
    for (; !from.empty(); from = from.parent_path()) {
      if (std::filesystem::exists(from / kScript, ignored)) return from / kScript;
      if (from == from.parent_path()) break;
    }
  throw UserError(std::string("--compare needs ") + kScript +
                  ", which is neither above the current folder nor above the program: run it in a clone of Trireme, or "
                  "name the script with --peer");
}

PeerSteps::PeerSteps(const PeerCommand& command, const Workload& workload, config::Precision precision, int threads)
    : command_(command) {
  int questions[2], answers[2];
  CHECK(pipe2(questions, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0, std::strerror(errno));
  to_ = fdopen(questions[1], "w");
  from_ = fdopen(answers[0], "r");
  try {
    process_ = spawn({command.python, command.script, "--layers", std::to_string(workload.layers), "--hidden",
                      std::to_string(workload.hidden_size), "--sequence", std::to_string(workload.sequence_length),
                      "--vocabulary", std::to_string(workload.vocabulary), "--batch", std::to_string(workload.batch),
                      "--dtype", precision == config::bf16 ? "bf16" : "fp32", "--threads", std::to_string(threads)},
                     questions[0], answers[1]);
  } catch (const UserError&) {
    for (int end : {questions[0], answers[1]}) close(end);
    wait_for_end();
    throw;
  }
  for (int end : {questions[0], answers[1]}) close(end);
  try {
    const std::string ready = answer();
    if (!ready.starts_with(kReady)) throw UserError(command.script.string() + " says \"" + ready + "\" for \"ready\"");
    description_ = ready.substr(std::strlen(kReady));
  } catch (const UserError&) {
    wait_for_end();
    throw;
  }
}

PeerSteps::~PeerSteps() { wait_for_end(); }

std::vector<double> PeerSteps::seconds_of(int steps) {
  std::fprintf(to_, "%d\n", steps);
  std::fflush(to_);
  std::istringstream line(answer());
  std::vector<double> seconds;
  for (double one = 0; line >> one;) seconds.push_back(one);
  if (seconds.size() != static_cast<std::size_t>(steps))
    throw UserError(command_.script.string() + " answers \"" + line.str() + "\" when asked for the seconds of " +
                    std::to_string(steps) + " steps");
  return seconds;
}

std::string PeerSteps::answer() {
  std::string line;
  for (int byte = std::fgetc(from_); byte != '\n'; byte = std::fgetc(from_)) {
    if (byte == EOF) {
      const int status = wait_for_end();
      const bool exited = WIFEXITED(status);
      if (exited && WEXITSTATUS(status) == kNoPyTorch)
        throw UserError(command_.python.string() +
                        " has no PyTorch to compare with. `launch/setup --no-build --oracle` installs Debian's "
                        "(python3-torch), or name another Python with --python");
      throw UserError(
          command_.script.string() + " ended with " +
          (exited ? "exit code " + std::to_string(WEXITSTATUS(status)) : "signal " + std::to_string(WTERMSIG(status))) +
          "; what it said stands above");
    }
    line.push_back(static_cast<char>(byte));
  }
  return line;
}

int PeerSteps::wait_for_end() {
  if (to_ != nullptr) std::fclose(to_);  // the end of its input ends it
  if (from_ != nullptr) std::fclose(from_);
  to_ = from_ = nullptr;
  int status = 0;
  if (process_ > 0)
    while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
  process_ = -1;
  return status;
}

}  // namespace trireme
