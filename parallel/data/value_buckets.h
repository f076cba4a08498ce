// Under ZeRO a rank updates a part of every bucket, and the model needs all of it. Here the values of the parameters
// lie in buckets as their gradients do, and come back together while other work goes on:
//
//   stage 0     every rank updates everything; nothing travels
//   stage 1, 2  after an update each bucket is gathered, in the order in which the next forward pass wants them; who
//               holds a unit first waits for it
//   stage 3     a rank keeps its parts alone; a unit is gathered when it is held, or before, when its use was
//   announced,
//               and freed when nobody holds or expects it
//
// Invariants: values of a unit are used only while it is held. What is gathered into freed memory is ordered behind all
// that the compute stream did in it. All ranks of `dp` hold, announce and write in the same order. One thread calls.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "cuda/core/context.h"
#include "monitoring/trace.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/bucket_plan.h"

namespace trireme {

class ValueBuckets {
 public:
  // Where values travel; of a rank that has everything, nothing is given.
  struct Travel {
    Communicator* dp = nullptr;
    Stream communication{};
    Trace* trace = nullptr;
  };
  // In context.arena: what the rank keeps in category "parameters", what is gathered for use in "gathered parameters".
  ValueBuckets(Context& context, const BucketPlan& plan, DType dtype, const Travel& travel);
  ~ValueBuckets();

  const BucketPlan& plan() const;
  DType dtype() const;

  // The values that this rank updates: plan.kept(bucket), as one dim. The bucket is one that has values.
  Tensor kept(std::size_t bucket) const;
  // Waits on the compute stream until nothing reads or writes what is kept; before it is written.
  void settle();
  // All kept values were written on the compute stream, for `step`.
  void written(std::int64_t step);

  // The values of a parameter that has any, in its box's shape; its unit is held.
  Tensor value(std::size_t parameter) const;
  void hold(std::span<const std::size_t> units);
  void release(std::span<const std::size_t> units);
  // They are held next.
  void expect(std::span<const std::size_t> units);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
