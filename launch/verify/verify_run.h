// `trireme verify`: the user's own configuration, shrunk, on one rank and on its layout, and all that comes out
// compared. The layout's ranks are threads of this process, or the processes that mpirun started.
#pragma once

#include <string>

#include "launch/run.pb.h"
#include "trainer/verify/trial.h"
#include "trainer/verify/trial_processes.h"

namespace trireme {

struct VerifyReport {
  std::string text;  // what was shrunk, what was compared, what differs and because of which axis
  bool agrees = false;
  std::string lost;  // why a process did not get through: nothing more can be tried, and MPI must not be ended
};

// `run` is resolved, with mesh.dp set. Gradients, loss, norm and weights within their bounds in fast numerics on the
// whole layout; bit for bit, the checkpoint's files too, in exact numerics on the layout without tp. `seams`: mistakes
// planted on purpose. With `processes`, all of them call this, each gets the verdict, and the one that leads the text;
// throws UserError where they are fewer than the shrunk layout has ranks.
VerifyReport verify_run(const config::Run& run, const TrialSeams* seams = nullptr, TrialProcesses* processes = nullptr);

}  // namespace trireme
