// AdamW over fp32 master weights, clipping, the decision to skip a step with non-finite gradients and fp16's loss
// scale; all of it stays on the device. The values that the model computes with are the masters, rounded. Under ZeRO a
// rank keeps and updates its parts alone.
#pragma once

#include <span>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "parallel/data/gradient_buckets.h"
#include "trainer/model/parameters.h"
#include "trainer/optim/gradient_norm.h"
#include "trainer/optim/progress.h"
#include "trainer/train.pb.h"

namespace trireme {

class Optimizer {
 public:
  // Elements [begin, end) of a parameter's box that this rank updates; f32, one dim.
  struct Piece {
    ParamIndex parameter = 0;
    std::int64_t begin = 0;
    std::int64_t end = 0;
    Tensor master{};
    Tensor first_moment{};
    Tensor second_moment{};
  };

  // Allocates masters (unless the parameters are fp32: then they are the masters), moments and the step's control,
  // category "optimizer". The moments start at zero. The loss scale is 1 and stays so unless the parameters are fp16.
  Optimizer(Context& context, Parameters& parameters, const config::Optimizer& options,
            const config::LossScale& loss_scale);

  // Every parameter's initial value, in fp32 into the masters, then rounded.
  void initialize(std::uint64_t seed);
  // Before others read or write masters and moments: the compute stream waits for what still travels.
  void settle() { parameters_.values().settle(); }
  // After masters were written by others: the parameters become their rounding, on all ranks. Collective under ZeRO.
  void round_masters(std::int64_t step = 0);
  // After masters and moments were loaded.
  void resume(const OptimizerProgress& progress);

  // One update from reduced gradients (gradients.finish() is on the compute stream) of a loss times control().scale. A
  // tied parameter's gradient is added to its owner's here, once.
  void step(GradientBuckets& gradients, const GradientNorm& norm, double learning_rate, std::int64_t step);

  // By parameter and begin.
  const std::vector<Piece>& pieces() const { return pieces_; }
  // What lies at a piece in the reduced gradients.
  Tensor gradient(const GradientBuckets& gradients, const Piece& piece) const;
  // The values of a piece, of the parameters' dtype.
  Tensor value(const Piece& piece) const;
  const StepControl& control() const { return control_; }

 private:
  void add_tied(GradientBuckets& gradients);

  Context& context_;
  Parameters& parameters_;
  config::Optimizer options_;
  float first_scale_ = 1;
  LossScale moves_;
  ArenaTensor masters_, first_, second_;  // [plan.kept_elements()]
  std::vector<Piece> pieces_;
  ArenaTensor norm_, clip_, factor_, skip_, applied_, scale_, good_;
  StepControl control_;
};

}  // namespace trireme
