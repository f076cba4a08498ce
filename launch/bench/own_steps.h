// The step that `trireme train` takes, alone: the same rank, arena, communicator and TrainingStep, without data,
// checkpoints or reports around it.
#pragma once

#include <optional>
#include <vector>

#include "launch/bench/workload.h"
#include "launch/train/rank.h"

namespace trireme {

class OwnSteps {
 public:
  // Warms up with two steps: the first one builds the library's kernels and touches the memory. Throws UserError under
  // mpirun, and when there is not enough memory.
  OwnSteps(const Workload& workload, config::Precision precision, int threads);

  std::vector<double> seconds_of(int steps);
  double loss() const { return loss_; }  // of the last step, in nats
  double flops_per_token() const;        // trainer/model/transformer.h
  double gemm_peak();                    // FLOP/s, measured now, in the step's dtype

 private:
  Workload workload_;
  Experiment experiment_;
  MpiWorld world_;
  Rank rank_;
  std::optional<TrainingStep> training_;
  std::int64_t step_ = 0;
  double loss_ = 0;
};

// Compute threads when none are asked for: the cores that this process may use.
int all_threads();

}  // namespace trireme
