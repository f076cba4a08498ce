// Whoever takes turns with us does so in a process of its own that stays between the turns, so that neither side pays
// for starting. It says when it is ready, and then answers each line that it is given with one.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace trireme {

class TurnProcess {
 public:
  // Starts it; a name without a slash is looked for on PATH. What it writes to stderr goes to ours. Throws UserError if
  // it cannot be started.
  explicit TurnProcess(const std::vector<std::string>& command);
  ~TurnProcess();  // ends it, and waits until it has
  TurnProcess(const TurnProcess&) = delete;
  TurnProcess& operator=(const TurnProcess&) = delete;

  void tell(const std::string& line);
  // Its next line; none if it has ended.
  std::optional<std::string> answer();

  // Closes its input, which ends it, and waits. How it ended, as waitpid has it; 0 when called again.
  int wait_for_end();

 private:
  pid_t process_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

// "exit code 3" or "signal 9", of what waitpid gave.
std::string how_it_ended(int status);

}  // namespace trireme
