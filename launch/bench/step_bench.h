// Is a step fast? Against the machine: its share of the GEMM peak measured in the same minute. Against a peer: both
// take turns, since machines are shared and their speed drifts, and the median of the paired ratios is what counts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/bench/peer_steps.h"
#include "launch/bench/workload.h"

namespace trireme {

struct StepBench {
  Workload workload;
  config::Precision precision = config::fp32;
  int threads = 1;
  int steps = 2;         // a turn
  int alternations = 5;  // turns of each side
};

struct StepResult {
  std::vector<double> own_seconds;   // of a step, the median of each turn
  std::vector<double> peer_seconds;  // likewise; empty without a peer
  std::string peer;                  // what it says of itself
  double peak_flops = 0;             // the best measured
  double flops_per_token = 0;
  double loss = 0;

  std::vector<double> ratios() const;  // peer_seconds / own_seconds, turn by turn: above 1, we are faster
};

double median(std::vector<double> values);  // of at least one

// `peer`: null for ours alone. `report` gets a line for each turn, as it ends.
StepResult measure_steps(const StepBench& bench, const PeerCommand* peer,
                         const std::function<void(const std::string&)>& report);

}  // namespace trireme
