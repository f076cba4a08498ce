// The learning rate as a pure function of the step: nothing to save, and nothing to get wrong on resuming.
#pragma once

#include <cstdint>

#include "trainer/train.pb.h"

namespace trireme {

// Of step `step` (0-based) of `steps`. Linear warm-up to learning_rate over warmup_steps, then
//   cosine    half a cosine down to min_learning_rate at the last step (I. Loshchilov, F. Hutter, SGDR, ICLR 2017, one
//   cycle) wsd       flat, then linear to min_learning_rate over the last decay_fraction of the steps (S. Hu et al.,
//   MiniCPM,
//             arXiv:2404.06395)
//   constant  flat
double learning_rate(const config::Optimizer& optimizer, std::int64_t step, std::int64_t steps);

}  // namespace trireme
