// The ranks of a trial hold their parts in memories of their own, perhaps of other processes. Each writes down its
// share as a message, and whoever has them all puts the trial together.
#pragma once

#include <span>
#include <vector>

#include "parallel/placement/param_spec.h"
#include "trainer/step/training_step.h"
#include "trainer/verify/rank_trial.pb.h"
#include "trainer/verify/trial.h"

namespace trireme {

// `held` of one of `specs`, which are the whole model's; `values` are its tensor's. `step` (from 0) for gradients.
proto::HeldValues held_values(const std::vector<ParamSpec>& specs, const HeldTensor& held,
                              const std::vector<float>& values, int step = 0);

// shares[r] is rank r's. What they disagree about or miss is among the trial's problems; its files are left empty.
Trial put_together(std::span<const proto::RankTrial> shares, const std::vector<ParamSpec>& specs, int steps);

}  // namespace trireme
