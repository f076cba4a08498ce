// The gradients' global norm, of which each rank has some terms: exactly one counts each element, and padding nobody.
// A rank counts its own part of each bucket, whatever the ZeRO stage, of the parameters that it speaks for (is_counted:
// neither tied replicas nor those of tensor parallelism); so the norm is one sum over the world.
//
// Squares are summed over blocks of 1024 elements of each parameter. In exact numerics the world sums a vector of all
// blocks of the whole model, each of which one rank fills, and one tree over it gives the bits that one rank gets. In
// fast numerics each rank adds its own blocks and the world one number.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "monitoring/trace.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/gradient_buckets.h"
#include "trainer/model/parameters.h"

namespace trireme {

class GradientNorm {
 public:
  // `model`: the parameters of the whole model, of which `parameters` are this rank's. `world` is called on
  // `communication`. `trace` may be null; both outlive this.
  GradientNorm(Context& context, const Parameters& parameters, std::span<const ParamSpec> model, Communicator& world,
               Stream communication, Order order, Trace* trace = nullptr);
  ~GradientNorm();
  GradientNorm(const GradientNorm&) = delete;
  GradientNorm& operator=(const GradientNorm&) = delete;

  // Sums of squares for Kernels::decide_step, after gradients.finish(); on the compute stream. Collective.
  ArenaTensor sums(const GradientBuckets& gradients, std::int64_t step) const;

 private:
  // Runs whose blocks follow each other in the model's order.
  struct Piece {
    std::int64_t first_block = 0;
    std::int64_t blocks = 0;
    std::vector<BucketPlan::Run> runs;
  };

  Context& context_;
  const BucketPlan& plan_;
  Communicator& world_;
  Stream communication_;
  Order order_;
  Trace::Track track_, waits_;
  Event event_;
  std::vector<Piece> pieces_;
  std::int64_t blocks_ = 0;  // of the whole model in exact numerics, else of this rank
};

}  // namespace trireme
