#include "parallel/comm/recording_device.h"

#include <algorithm>

#include "monitoring/check.h"

namespace trireme {
namespace {

// Handles are numbers from 1: streams and events of this device are never followed.
void* handle_of(std::size_t number) { return reinterpret_cast<void*>(number); }
std::size_t number_in(void* handle) { return reinterpret_cast<std::size_t>(handle); }

CallFrontier later(const CallFrontier& a, const CallFrontier& b) {
  CallFrontier both;
  for (std::size_t i = 0; i < both.size(); ++i) both[i] = std::max(a[i], b[i]);
  return both;
}

}  // namespace

Stream RecordingDevice::create_stream(StreamKind kind, const char*) {
  CHECK(streams_.size() < kMostStreams, "more than ", kMostStreams, " streams");
  streams_.push_back({kind, kNoCalls});
  return {handle_of(streams_.size())};
}

Event RecordingDevice::create_event() {
  events_.push_back(kNoCalls);
  return {handle_of(events_.size())};
}

int RecordingDevice::number_of(Stream stream) const {
  const std::size_t number = number_in(stream.handle);
  CHECK(number >= 1 && number <= streams_.size(), "a stream of another device");
  return static_cast<int>(number) - 1;
}

CallFrontier RecordingDevice::before(Stream stream) const {
  return later(program_, streams_[static_cast<std::size_t>(number_of(stream))].before);
}

void RecordingDevice::record(Stream stream, Event event) { events_.at(number_in(event.handle) - 1) = before(stream); }

void RecordingDevice::wait(Stream stream, Event event) {
  Order& order = streams_[static_cast<std::size_t>(number_of(stream))];
  order.before = later(before(stream), events_.at(number_in(event.handle) - 1));
  if (order.kind == StreamKind::kCompute) program_ = order.before;
}

void RecordingDevice::synchronize(Stream stream) { program_ = before(stream); }

CallFrontier RecordingDevice::put(Stream stream, int call) {
  const auto number = static_cast<std::size_t>(number_of(stream));
  const CallFrontier needed = before(stream);
  streams_[number].before = needed;
  streams_[number].before[number] = call;
  if (streams_[number].kind == StreamKind::kCompute) program_ = streams_[number].before;
  return needed;
}

}  // namespace trireme
