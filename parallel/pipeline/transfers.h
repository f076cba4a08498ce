// Schedules say what is computed; what must travel follows from it, so no generator writes a send or a receive. Pure.
#pragma once

#include "parallel/pipeline/schedules.h"

namespace trireme {

// A receive right before each F and B whose input comes from another rank, a send right after each whose result goes to
// one. Where W directly follows its B the two run fused, and the send comes after both.
Schedules insert_transfers(PipelineShape shape, const Schedules& schedules);

}  // namespace trireme
