// AdamW over fp32 master weights, clipping and the decision to skip a step with non-finite gradients; all of it stays
// on the device. The values that the model computes with are the masters, rounded.
#pragma once

#include <span>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "parallel/data/gradient_buckets.h"
#include "trainer/model/parameters.h"
#include "trainer/train.pb.h"

namespace trireme {

class Optimizer {
 public:
  // Allocates masters (unless the parameters are fp32: then they are the masters), moments and the step's control,
  // category "optimizer". The moments start at zero.
  Optimizer(Context& context, const Parameters& parameters, const config::Optimizer& options);

  // Every owned parameter's initial value, in fp32 into the masters, then rounded.
  void initialize(std::uint64_t seed);
  // After masters were loaded: the parameters become their rounding.
  void round_masters();
  // After masters and moments were loaded.
  void resume(std::int64_t applied_updates);

  // One update from reduced gradients (gradients.finish() is on the compute stream). A tied parameter's gradient is
  // added to its owner's here, once.
  void step(GradientBuckets& gradients, double learning_rate);

  // Of owned parameters; f32.
  Tensor master(ParamIndex index) const { return masters_view_[index]; }
  Tensor first_moment(ParamIndex index) const { return *first_[index]; }
  Tensor second_moment(ParamIndex index) const { return *second_[index]; }
  const StepControl& control() const { return control_; }

 private:
  Context& context_;
  const Parameters& parameters_;
  config::Optimizer options_;
  std::vector<ArenaTensor> masters_, first_, second_;
  std::vector<Tensor> masters_view_;
  std::vector<ParamIndex> decayed_, plain_;  // owned parameters
  ArenaTensor norm_, clip_, skip_, applied_;
  StepControl control_;
};

}  // namespace trireme
