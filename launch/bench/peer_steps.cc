#include "launch/bench/peer_steps.h"

#include <cstring>
#include <sstream>

#include <sys/wait.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr const char* kScript = "tests/peers/gpt_step.py";
constexpr int kNoPyTorch = 3;  // the script's exit code
constexpr const char* kReady = "ready ";

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
    : command_(command),
      process_({command.python, command.script, "--layers", std::to_string(workload.layers), "--hidden",
                std::to_string(workload.hidden_size), "--sequence", std::to_string(workload.sequence_length),
                "--vocabulary", std::to_string(workload.vocabulary), "--batch", std::to_string(workload.batch),
                "--dtype", precision == config::bf16 ? "bf16" : "fp32", "--threads", std::to_string(threads)}) {
  const std::string ready = answer();
  if (!ready.starts_with(kReady)) throw UserError(command.script.string() + " says \"" + ready + "\" for \"ready\"");
  description_ = ready.substr(std::strlen(kReady));
}

std::vector<double> PeerSteps::seconds_of(int steps) {
  process_.tell(std::to_string(steps));
  std::istringstream line(answer());
  std::vector<double> seconds;
  for (double one = 0; line >> one;) seconds.push_back(one);
  if (seconds.size() != static_cast<std::size_t>(steps))
    throw UserError(command_.script.string() + " answers \"" + line.str() + "\" when asked for the seconds of " +
                    std::to_string(steps) + " steps");
  return seconds;
}

std::string PeerSteps::answer() {
  if (const std::optional<std::string> line = process_.answer()) return *line;
  const int status = process_.wait_for_end();
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoPyTorch)
    throw UserError(command_.python.string() +
                    " has no PyTorch to compare with. `launch/setup --no-build --oracle` installs Debian's "
                    "(python3-torch), or name another Python with --python");
  throw UserError(command_.script.string() + " ended with " + how_it_ended(status) + "; what it said stands above");
}

}  // namespace trireme
