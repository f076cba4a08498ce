// Communication costs a step only what nobody hides: what the compute stream waits for its peers, and what it does of
// that itself. A rank's trace says both (parallel/comm/traced_call.h).
#pragma once

#include <cstdint>
#include <vector>

#include "monitoring/trace.h"

namespace trireme {

struct Exposure {
  double communication_seconds = 0;  // in which a call to peers was under way on any stream, waiting for them included
  double exposed_seconds = 0;        // in which the compute stream waited for one, or was in one
};

// From `since_ns` on, of steady_clock.
Exposure exposure_of(const std::vector<TraceEvent>& events, std::int64_t since_ns);

}  // namespace trireme
