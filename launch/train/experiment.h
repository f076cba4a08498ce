// From a resolved configuration to what the trainer takes.
#pragma once

#include <string>

#include "dataloader/batch/plan.h"
#include "dataloader/shard/dataset.h"
#include "launch/run.pb.h"
#include "trainer/loop/train_loop.h"

namespace trireme {

Experiment experiment_of(const config::Run& run);
Layout layout_of(const config::Run& run);
Recomputation recomputation_of(const config::Run& run);
BatchPlan batch_plan_of(const config::Run& run, int rank);
std::int64_t steps_of(const config::Run& run);  // train.steps, or train.tokens in whole steps
AttentionScope attention_of(const config::Run& run);

// What must be the same for a checkpoint to be continued: the configuration without the layout, the budget, and what
// only watches or places the run; and which data. As text, so that a difference can be shown.
std::string experiment_text(const config::Run& run, const DatasetManifest& data);

}  // namespace trireme
