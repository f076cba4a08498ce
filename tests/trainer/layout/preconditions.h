// A mistake of parallelism shows only where there is something to get wrong: fewer heads of K and V than ranks, a table
// tied across stages, weights that are updated at all. What each planted mistake needs of a case stands here, so that a
// property test can be asked whether it would have met it.
#pragma once

#include <string>

#include "tests/trainer/layout/drawn_layout.h"

namespace trireme {

// CHECKs that something is known of the plant of this name.
bool can_matter(const std::string& plant, const DrawnLayout& drawn);

}  // namespace trireme
