// Reducing gradients after the backward pass leaves the network idle first and the cores idle after. Here gradients lie
// in buckets, in the order in which the backward pass finishes them; when the last gradient of a bucket is complete,
// the bucket is checked for non-finite values (so that the culprit is still one rank's own) and its reduction starts on
// the communication stream, while the backward pass goes on.
//
//   stage 0     every rank gets the sum of each bucket
//   stage 1     a rank gets the sum of its part (BucketPlan::part), in place
//   stage 2, 3  and keeps no more: in fast numerics each micro-batch's buckets are reduced and added to the part. A
//               bucket has memory from its first gradient until kInFlight more are on the way. In exact numerics, where
//               a sum over micro-batches may not depend on how many there are, as stage 1
//
// Invariants: a bucket is reduced once a round and only after every one of its parameters is complete; a round is a
// step, or a micro-batch where each is reduced. `finish` makes the compute stream wait for all of them. What lies
// between parameters is zero.
//
// In exact numerics every rank holds `groups` accumulators of each gradient (the runs of consecutive samples that it
// owns); they are summed in a binary tree, first here, then over ranks, which own aligned runs: one tree over all
// groups.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "monitoring/trace.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/bucket_plan.h"
#include "parallel/tensor/replica_sums.h"

namespace trireme {

class GradientBuckets {
 public:
  static constexpr std::size_t kInFlight = 2;

  struct Options {
    Order order = Order::kFast;
    int groups = 1;  // accumulators of this rank; a power of two
    // Whose gradients are added over ranks of tensor parallelism, before those of data parallelism; outlives this.
    // Null: nobody's.
    const ReplicaSums* replicas = nullptr;
  };

  // The tensors lie in context.arena, categories "gradients" and "gradients to reduce". `dp` is of plan.ranks ranks,
  // perhaps one.
  GradientBuckets(Context& context, const BucketPlan& plan, Communicator& dp, Stream communication, Trace* trace,
                  Options options);
  ~GradientBuckets();

  int groups() const;
  void begin_step(std::int64_t step);  // zeroes all, on the compute stream
  // The gradient of parameter `index` that group `group` accumulates into; its box's shape, f32. Within a step.
  Tensor gradient(std::size_t index, int group = 0);
  // A micro-batch's contribution is on the compute stream: not the last one of the step, and the last.
  void added(std::size_t index);
  void ready(std::size_t index);
  void finish();  // the compute stream waits until all buckets are reduced

  // After finish(): the sum of plan.kept(bucket), as one dim, f32.
  Tensor reduced(std::size_t bucket) const;
  // flags [parameters] i32: whether this rank's own gradient, before a reduction, was not finite.
  Tensor own_nonfinite() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
