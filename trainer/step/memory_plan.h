// What a step will take and say, learned by running its own code shape-only. The run then gets exactly this much
// memory.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "dataloader/batch/plan.h"
#include "parallel/comm/recording.h"
#include "trainer/step/training_step.h"

namespace trireme {

struct StepPlan {
  std::size_t arena_bytes = 0;                       // of device memory, all that the rank allocates
  std::map<std::string, std::size_t> bytes_at_peak;  // by category, at the moment when most is in use
  std::int64_t parameters = 0;                       // elements, each counted once
  std::vector<RecordedCall> calls;                   // in one step, of all groups, in order
  std::vector<CallFrontier> before;                  // call by call: what must have ended
  std::vector<RecordedGroup> groups;                 // that the rank is in
  std::vector<ParamSpec> specs;                      // of the rank's stages
};

// For rank `rank` of the layout's mesh, which takes its part of a batch of these sizes. Covers a step, and an
// evaluation of a micro-batch.
StepPlan plan_step(const Experiment& experiment, const Layout& layout, const BatchPlan& sizes, int rank);

}  // namespace trireme
