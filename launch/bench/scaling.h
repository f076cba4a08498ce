// Do ranks together do as much as one rank with all of their threads? Both take turns, since machines are shared and
// their speed drifts, and the median of the paired ratios is what counts. Beside it: what communication the ranks had,
// and how much of it computing waited for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/bench/bench_layout.h"
#include "launch/bench/exposure.h"
#include "launch/bench/workload.h"

namespace trireme {

struct ScalingBench {
  Workload workload;
  config::Precision precision = config::fp32;
  BenchLayout layout;
  int threads = 1;       // of each rank; the one rank has those of all
  int steps = 2;         // a turn
  int alternations = 5;  // turns of each side
  std::string mpirun = "mpirun";
  std::string program;  // this one, which the ranks run
};

struct ScalingResult {
  std::vector<double> one_seconds;    // of a step, the median of each turn
  std::vector<double> ranks_seconds;  // likewise
  Exposure exposure;                  // a step, the mean over ranks and turns
  double loss_of_one = 0;             // of the last step
  double loss_of_ranks = 0;

  std::vector<double> ratios() const;  // one_seconds / ranks_seconds, turn by turn: above 1, the ranks are faster
};

// Starts the ranks under mpirun. `report` gets a line for each turn, as it ends. Throws UserError where there is no
// mpirun or they do not start, PeerError where they end before they are told to.
ScalingResult measure_scaling(const ScalingBench& bench, const std::function<void(const std::string&)>& report);

// What those ranks do: on rank 0's standard input a number of steps a line, on its standard output "ready" and then an
// answer to each, until the input ends.
void serve_scaling(const Workload& workload, config::Precision precision, int threads, const BenchLayout& layout);

}  // namespace trireme
