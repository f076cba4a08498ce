// The mistakes of parallelism that others have shipped, each made here at one of the seams of a trial: the op table,
// the communicators, the ParamSpecs, the schedule. None touches the code that looks for it.
#pragma once

#include <span>

#include "trainer/verify/trial.h"

namespace trireme {

std::span<const Plant> all_plants();

}  // namespace trireme
