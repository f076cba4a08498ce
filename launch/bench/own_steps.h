// The step that `trireme train` takes, alone: the same rank, arena, communicators and TrainingStep, without data,
// checkpoints or reports around it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/bench/bench_layout.h"
#include "launch/bench/exposure.h"
#include "launch/bench/workload.h"
#include "launch/train/rank.h"

namespace trireme {

class OwnSteps {
 public:
  // Of one rank. Warms up with two steps: the first one builds the library's kernels and touches the memory. Throws
  // UserError under mpirun, and when there is not enough memory.
  OwnSteps(const Workload& workload, config::Precision precision, int threads);
  // This process's rank of `world`, which has as many as the layout. Throws UserError. Collective, as is seconds_of.
  OwnSteps(MpiWorld& world, const Workload& workload, config::Precision precision, int threads,
           const BenchLayout& layout);

  std::vector<double> seconds_of(int steps);
  double loss() const { return loss_; }            // of the last step, in nats
  Exposure exposure() const { return exposure_; }  // of this rank in the last seconds_of, a step
  double flops_per_token() const;                  // trainer/model/transformer.h
  double gemm_peak();                              // FLOP/s, measured now, in the step's dtype
  Communicator& peers() { return rank_.peers(); }

 private:
  OwnSteps(std::unique_ptr<MpiWorld> alone, MpiWorld* world, const Workload& workload, config::Precision precision,
           int threads, const BenchLayout& layout);

  Workload workload_;
  Experiment experiment_;
  std::unique_ptr<MpiWorld> alone_;  // of one rank
  BatchPlan batches_;
  Rank rank_;
  Trace trace_;
  std::optional<TrainingStep> training_;
  std::int64_t step_ = 0;
  double loss_ = 0;
  Exposure exposure_;
};

// What a rank alone would compute on, for the head of a table.
std::string description_of_device(int threads);

// Compute threads when none are asked for: the cores that this process may use.
int all_threads();

}  // namespace trireme
