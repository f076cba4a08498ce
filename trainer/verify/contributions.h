// How far may two orders of the same sums lie apart? A gradient is a sum over tokens, and rounding moves a sum by a
// multiple of the unit roundoff times the sum of its terms' sizes, however little is left of them when they cancel. So
// the terms are measured: a token's contribution is the gradient of its own loss.
#pragma once

#include "trainer/verify/trial.h"

namespace trireme {

// |difference| <= kGradientRoundings u sum|contributions of each token|, u = 2^-24.
inline constexpr double kGradientRoundings = 2048;
inline constexpr double kUnitRoundoff = 0x1p-24;

// Of the gradient of these samples' loss, at the initial weights, on one rank: sum over tokens of |gradient of that
// token's loss|, over the tokens that count. One forward and backward pass for each token: for small models.
WholeTensors token_contributions(const Experiment& experiment, SampleRange samples);

}  // namespace trireme
