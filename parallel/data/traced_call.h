// A call to peers as a span of the trace: from when its stream gets there until it is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/core/device.h"
#include "monitoring/trace.h"

namespace trireme {

template <class Call>
void traced_call(Device& device, Stream stream, const Trace::Track& track, const std::string& name, std::int64_t step,
                 const Call& call) {
  const auto now_ns = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  };
  const auto began = std::make_shared<std::int64_t>(0);
  device.run(stream, [began, now_ns] { *began = now_ns(); });
  call();
  device.run(stream, [began, now_ns, track, name, step] { track.add(name, step, *began, now_ns()); });
}

}  // namespace trireme
