// A layout for a thousand ranks should fail on one CPU, before they are asked for. This runs the step's own code,
// shape-only, for every rank that can differ from the others, and holds what the ranks would do against each other:
// their calls (parallel/check/call_match.h), the boxes of parameters that they hold, and the memory that each needs.
//
// Which ranks are planned, and why that speaks for all: a rank's plan depends on its places on the axes alone. On pp
// every place is planned. On dp every rank has the same parameters, the same number of micro-batches of the same size
// (dp divides the batch), and an equal part of each bucket, so the first and the last place are planned, and must plan
// the same. On tp what differs is how large the rank's boxes are: of the places whose boxes have equal sizes one is
// planned, and the last place always. Calls are then matched over all places of pp and tp and both of dp: a call of the
// dp group is the same at every place between. Where a step makes groups beyond those of the mesh, every place of tp is
// planned.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "dataloader/batch/plan.h"
#include "trainer/step/memory_plan.h"

namespace trireme {

struct PlannedRank {
  int rank = 0;
  AxisPlaces places;
  int stands_for = 1;  // ranks, itself included
  StepPlan plan;
};

struct LayoutCheck {
  std::vector<std::string> problems;  // in words, naming ranks, calls and tensors; empty if the layout holds
  std::vector<PlannedRank> planned;   // the stages in order
  std::size_t worst = 0;              // of `planned`: who needs the most memory
  std::int64_t parameters = 0;        // of the whole model, each counted once
};

// `batches`: any rank's. Throws nothing that planning does not.
LayoutCheck check_layout(const Experiment& experiment, const Layout& layout, const BatchPlan& batches);

// What the ranks' boxes get wrong: of each parameter those that count (is_counted) must cover every element once, and
// the others must each be a copy of one that counts. `stages`: the specs that the ranks at each place of pp hold.
std::vector<std::string> placement_problems(const MeshShape& mesh, const std::vector<std::vector<ParamSpec>>& stages);

}  // namespace trireme
