#include "launch/bench/exposure.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "parallel/comm/traced_call.h"

namespace trireme {

Exposure exposure_of(const std::vector<TraceEvent>& events, std::int64_t since_ns) {
  const auto busy_on = [&](std::initializer_list<std::string_view> tracks) {
    std::vector<TraceEvent> on_one;  // spans of several tracks overlap
    for (TraceEvent event : events) {
      if (std::find(tracks.begin(), tracks.end(), event.track) == tracks.end() || event.end_ns <= since_ns) continue;
      event.track = "any";
      event.begin_ns = std::max(event.begin_ns, since_ns);
      on_one.push_back(std::move(event));
    }
    return busy_seconds(on_one, "any");
  };
  return {
      .communication_seconds = busy_on({kCommunicationTrack, kActivationsTrack, kStageGradientsTrack, kTensorTrack}),
      .exposed_seconds = busy_on({kWaitsTrack, kTensorTrack})};
}

}  // namespace trireme
