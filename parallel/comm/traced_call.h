// Whether communication runs beside computation shows when both lie on one time line. Calls to peers are spans of the
// trace, from when their stream gets there until they are done; so are the waits of the compute stream for them, and
// what it does of them itself. What of the former lies in the latter was exposed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cuda/core/device.h"
#include "monitoring/trace.h"

namespace trireme {

// The tracks of a rank's trace.
inline constexpr std::string_view kComputeTrack = "compute";  // the schedule's instructions, with the waits in them
inline constexpr std::string_view kWaitsTrack = "waits for peers";        // of the compute stream
inline constexpr std::string_view kTensorTrack = "tensor parallelism";    // calls on the compute stream
inline constexpr std::string_view kCommunicationTrack = "communication";  // of gradients, parameters, scalars
inline constexpr std::string_view kActivationsTrack = "activations between stages";
inline constexpr std::string_view kStageGradientsTrack = "gradients between stages";

// The track of that name; one that records nothing where there is no trace.
inline Trace::Track track_of(Trace* trace, std::string_view name) {
  return trace == nullptr ? Trace::Track() : trace->track(name);
}

template <class Call>
void traced_call(Device& device, Stream stream, const Trace::Track& track, const std::string& name, std::int64_t step,
                 const Call& call) {
  if (!track.records()) return call();
  const auto now_ns = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  };
  const auto began = std::make_shared<std::int64_t>(0);
  device.run(stream, [began, now_ns] { *began = now_ns(); });
  call();
  device.run(stream, [began, now_ns, track, name, step] { track.add(name, step, *began, now_ns()); });
}

// The compute stream goes on when the last recorded `event` of a call to peers has happened. `track`: kWaitsTrack.
inline void traced_wait(Device& device, Stream compute, Event event, const Trace::Track& track, const std::string& name,
                        std::int64_t step) {
  traced_call(device, compute, track, name, step, [&] { device.wait(compute, event); });
}

}  // namespace trireme
