// A run that cannot work should fail in the first second on one machine, not in the tenth minute on a thousand. Each
// check compares fields with each other, and names the nearest values that would do; where the layout is at fault, also
// the nearest meshes.
//
// Two questions are kept apart: is this a sound configuration (for any cluster), and can this program on this machine
// train it.
#pragma once

#include <optional>

#include "launch/config/problems.h"
#include "launch/config/read.h"
#include "launch/run.pb.h"

namespace trireme {

// Needs a resolved `run`. `ranks`: of the run, if known. Fields that `problems` already concerns are left alone.
void validate(const config::Run& run, std::optional<int> ranks, const Sources& sources, Problems& problems);

// Layouts that are implemented, and a known vocabulary.
void check_implemented(const config::Run& run, const Sources& sources, Problems& problems);
// What `train` needs beyond that: a data set, and a device that is here.
void check_trainable(const config::Run& run, const Sources& sources, Problems& problems);

}  // namespace trireme
