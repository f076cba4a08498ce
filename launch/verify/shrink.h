// A layout of a thousand ranks cannot be tried on one machine, but its mistakes are those of its shape: which axes
// there are, what divides and what does not, how many micro-batches a stage sees. So a configuration is made as small
// as it goes with that shape kept, and the table of what was shrunk says what was tried.
#pragma once

#include <string>
#include <vector>

#include "launch/run.pb.h"
#include "trainer/step/training_step.h"

namespace trireme {

struct Shrunk {
  struct Change {
    std::string field;  // "model.layers"
    std::string from;
    std::string to;
  };
  config::Run run;  // resolved; ranks of the mesh: at most 2 x 3 x 2
  std::vector<Change> changes;
};

// `run` is resolved, with mesh.dp set. An axis keeps at least 2 places of what it had, pp 3; the number of
// micro-batches stays on the side of the number of stages where it was; what did not divide still does not; stages that
// recompute unlike parts still do.
Shrunk shrink(const config::Run& run);

// The same in fp32 with an optimizer that follows gradients smoothly (epsilon 1), as bounds on weights need it.
Shrunk with_bounded_optimizer(Shrunk shrunk);

}  // namespace trireme
