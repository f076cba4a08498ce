// One rank of `trireme train`, from a checked configuration to an exit code: takes the device and memory, says what the
// run will cost, and runs the loop.
#pragma once

#include "launch/config/load.h"
#include "monitoring/error.h"
#include "parallel/comm/mpi.h"
#include "trainer/step/run_observer.h"

namespace trireme {

// `observer` may be null. Throws Error; of several ranks, one that throws must end the others (MpiWorld::abort).
ExitCode run_training(MpiWorld& world, const LoadedRun& loaded, RunObserver* observer = nullptr);

}  // namespace trireme
