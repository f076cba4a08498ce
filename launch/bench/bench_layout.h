// A layout to measure, in few words: "dp=2", "dp=2,zero=3", "pp=2,micro-batch=1", "tp=2".
#pragma once

#include <string>

#include "dataloader/batch/plan.h"
#include "launch/bench/workload.h"
#include "trainer/step/training_step.h"

namespace trireme {

struct BenchLayout {
  std::string text;
  Layout layout;
  int micro_batch = 0;  // samples

  int ranks() const { return layout.mesh.ranks(); }
  BatchPlan batch_plan(const Workload& workload, int rank) const;
  double simulated_bubble(const Workload& workload) const;  // the part of the step; 0 without a pipeline
};

// Without a micro-batch: all of a rank's samples at once, and in a pipeline 4 micro-batches a stage where there are so
// many samples. Throws UserError for what is not written so, and for what the workload cannot be cut into.
BenchLayout bench_layout(const std::string& text, const Workload& workload);

}  // namespace trireme
