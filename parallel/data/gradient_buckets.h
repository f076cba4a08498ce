// Reducing gradients after the backward pass leaves the network idle first and the cores idle after. Here gradients lie
// in buckets, in the order in which the backward pass finishes them; when the last gradient of a bucket is complete,
// the bucket is checked for non-finite values (so that the culprit is still one rank's own) and its reduction starts on
// the communication stream, while the backward pass goes on.
//
// Invariants: a bucket is reduced exactly once a step and only after every one of its parameters is ready; `finish`
// makes the compute stream wait for all of them. Gradients lie as BucketPlan says; what lies between them is zero.
//
// In exact numerics every rank holds `groups` accumulators of each gradient (the runs of consecutive samples that it
// owns); they are summed in a binary tree, first here, then over ranks, which own aligned runs: one tree over all
// groups.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "monitoring/trace.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/bucket_plan.h"
#include "parallel/tensor/replica_sums.h"

namespace trireme {

class GradientBuckets {
 public:
  struct Options {
    int groups = 1;  // accumulators of this rank; a power of two
    // Whose gradients are added over ranks of tensor parallelism, before those of data parallelism; outlives this.
    // Null: nobody's.
    const ReplicaSums* replicas = nullptr;
  };

  // The tensors lie in context.arena, category "gradients". `dp` is of plan.ranks ranks, perhaps one.
  GradientBuckets(Context& context, const BucketPlan& plan, Communicator& dp, Stream communication, Trace* trace,
                  Options options);
  ~GradientBuckets();

  int groups() const;
  // The gradient of parameter `index` that group `group` accumulates into; its box's shape, f32.
  Tensor gradient(std::size_t index, int group = 0) const;

  void begin_step(std::int64_t step);  // zeroes all, on the compute stream
  void ready(std::size_t index);       // parameter's last contribution is on the compute stream
  void finish();                       // the compute stream waits until all buckets are reduced

  // After finish(): the reduced gradients, spec by spec (group 0).
  Tensors reduced() const;
  // flags [number of specs] i32: whether this rank's own gradient, before the reduction, was not finite.
  Tensor own_nonfinite() const;
  // [size, number of specs] i32: every rank's flags, for decide_step and for naming the culprit; valid after finish().
  Tensor all_nonfinite() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
