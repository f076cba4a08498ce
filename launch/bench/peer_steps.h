// What the peer (tests/peers/gpt_step.py) needs for the same steps, in a process of its own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/bench/turn_process.h"
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

  const std::string& description() const { return description_; }  // "PyTorch 1.13.0a0, fp32, 2 threads"
  std::vector<double> seconds_of(int steps);

 private:
  std::string answer();

  PeerCommand command_;
  TurnProcess process_;
  std::string description_;
};

}  // namespace trireme
