// What the peer (tests/peers/gpt_step.py) needs for the same steps, in a process of its own that stays between the
// alternations, so that neither side pays for starting.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "launch/bench/workload.h"

namespace trireme {

struct PeerCommand {
  std::filesystem::path python = "/usr/bin/python3";  // Debian's, which sees python3-torch
  std::filesystem::path script;
};

// tests/peers/gpt_step.py above the current folder or the program. Throws UserError where neither has it.
std::filesystem::path find_peer_script();

class PeerSteps {
 public:
  // Starts it and waits until it has warmed up. Throws UserError when it cannot run: without PyTorch, saying how to
  // install it.
  PeerSteps(const PeerCommand& command, const Workload& workload, config::Precision precision, int threads);
  ~PeerSteps();  // ends it, and waits until it has
  PeerSteps(const PeerSteps&) = delete;
  PeerSteps& operator=(const PeerSteps&) = delete;

  const std::string& description() const { return description_; }  // "PyTorch 1.13.0a0, fp32, 2 threads"
  std::vector<double> seconds_of(int steps);

 private:
  std::string answer();
  int wait_for_end();

  PeerCommand command_;
  pid_t process_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
  std::string description_;
};

}  // namespace trireme
