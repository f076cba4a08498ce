// What the optimizer knows beside masters and moments: with them it goes on after a restart, on any layout. The same on
// all ranks.
#pragma once

#include <cstdint>

namespace trireme {

struct OptimizerProgress {
  std::int64_t applied_updates = 0;
  float loss_scale = 1;         // of the next step; 1 in all but fp16
  std::int64_t good_steps = 0;  // that were not skipped, since the loss scale last changed
};

}  // namespace trireme
