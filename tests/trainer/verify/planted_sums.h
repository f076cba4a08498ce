// Two mistakes in when and how often something is summed, which take both the op table and the communicators to make:
// one sees the gradients come, the other sees them go.
#pragma once

#include "trainer/verify/trial.h"

namespace trireme {

// A bucket is reduced over dp before its last gradient has come: that one, of the embedding's tables, is added to the
// sum afterwards, each rank's own. (In exact numerics only where a rank has one group.)
TrialSeams bucket_reduced_early();

// Each rank that holds a parameter counts it in the clipping norm, and not the first alone. (Below ZeRO 2, where
// gradients stay where they were reduced.)
TrialSeams replicas_counted_by_all();

}  // namespace trireme
