// `trireme verify`: the user's own configuration, shrunk, on one rank and on its layout, and all that comes out
// compared.
#pragma once

#include <string>

#include "launch/run.pb.h"
#include "trainer/verify/trial.h"

namespace trireme {

struct VerifyReport {
  std::string text;  // what was shrunk, what was compared, what differs and because of which axis
  bool agrees = false;
};

// `run` is resolved, with mesh.dp set. Gradients, loss, norm and weights within their bounds in fast numerics on the
// whole layout; bit for bit, the checkpoint's files too, in exact numerics on the layout without tp. `seams`: mistakes
// planted on purpose.
VerifyReport verify_run(const config::Run& run, const TrialSeams* seams = nullptr);

}  // namespace trireme
