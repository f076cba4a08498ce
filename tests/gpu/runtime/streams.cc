#include "tests/gpu/runtime/streams.h"

#include <algorithm>
#include <utility>

#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {

CUstream_st* Streams::create(int device, unsigned flags, int priority) {
  const Lock lock(mutex_);
  auto stream = std::make_unique<CUstream_st>();
  stream->id = static_cast<std::uint32_t>(streams_.size());
  stream->device = device;
  stream->priority = priority;
  stream->flags = flags;
  stream->blocks_with_default = (flags & cudaStreamNonBlocking) == 0;
  live_streams_.insert(stream.get());
  return streams_.emplace_back(std::move(stream)).get();
}

void Streams::destroy(CUstream_st* stream) {
  const Lock lock(mutex_);
  stream->destroyed = true;
  live_streams_.erase(stream);
}

CUstream_st* Streams::find(cudaStream_t handle, int device) {
  if (handle == cudaStreamPerThread)
    throw Refusal(cudaErrorNotSupported, "cudaStreamPerThread is not implemented; create a stream");
  Lock lock(mutex_);
  if (handle != nullptr && handle != cudaStreamLegacy) {
    if (live_streams_.count(handle) == 0)
      throw Refusal(cudaErrorInvalidResourceHandle, hex(handle) + " is no stream, or one that was destroyed");
    return handle;
  }
  const auto index = static_cast<std::size_t>(device);
  if (default_streams_.size() <= index) default_streams_.resize(index + 1);
  if (default_streams_[index] == nullptr) {
    lock.unlock();
    CUstream_st* made = create(device, cudaStreamDefault, 0);
    lock.lock();
    live_streams_.erase(made);  // nobody's to destroy
    default_streams_[index] = made;
  }
  return default_streams_[index];
}

Clock Streams::clock_of_next(const CUstream_st& stream) const {
  Clock before = stream.clock;
  join(before, host_);
  const auto index = static_cast<std::size_t>(stream.device);
  const CUstream_st* legacy = index < default_streams_.size() ? default_streams_[index] : nullptr;
  if (legacy == &stream) {
    for (const auto& other : streams_)
      if (other->device == stream.device && other->blocks_with_default) join(before, other->clock);
  } else if (legacy != nullptr && stream.blocks_with_default) {
    join(before, legacy->clock);
  }
  return before;
}

void Streams::enqueue(CUstream_st* stream, std::string label, Work work,
                      const std::function<void(const Operation&)>& ordered) {
  const Lock lock(mutex_);
  start_thread();
  auto before = std::make_unique<Clock>(clock_of_next(*stream));
  Operation operation;
  operation.stream = stream->id;
  operation.number = stream->last + 1;
  auto known = std::make_unique<Clock>(host_);
  operation.before = before.get();
  operation.known = known.get();
  operation.label = std::move(label);
  if (ordered) ordered(operation);
  stream->last = operation.number;
  join(stream->clock, *before);
  set(stream->clock, stream->id, operation.number);
  stream->queue.push_back({std::move(operation), std::move(before), std::move(known), std::move(work), false});
  last_enqueued_ = std::chrono::steady_clock::now();
  enqueued_.notify_one();
}

CUevent_st* Streams::create_event(int device, bool timed) {
  const Lock lock(mutex_);
  auto event = std::make_unique<CUevent_st>();
  event->device = device;
  event->timed = timed;
  live_events_.insert(event.get());
  return events_.emplace_back(std::move(event)).get();
}

void Streams::check(const CUevent_st* event) {
  const Lock lock(mutex_);
  if (live_events_.count(event) == 0)
    throw Refusal(cudaErrorInvalidResourceHandle, hex(event) + " is no event, or one that was destroyed");
}

void Streams::destroy_event(CUevent_st* event) {
  check(event);
  const Lock lock(mutex_);
  live_events_.erase(event);
}

void Streams::record(CUevent_st* event, CUstream_st* stream) {
  check(event);
  if (event->device != stream->device)
    throw Refusal(cudaErrorInvalidResourceHandle, "the event and the stream belong to different devices");
  auto made = std::make_shared<EventRecord>();
  enqueue(
      stream, "cudaEventRecord",
      [made](const Operation&) {
        made->happened = std::chrono::steady_clock::now();
        return Progress::kDone;
      },
      [&](const Operation& operation) {
        made->clock = *operation.before;
        set(made->clock, operation.stream, operation.number);
      });
  const Lock lock(mutex_);
  event->record = std::move(made);
}

void Streams::wait(CUstream_st* stream, CUevent_st* event) {
  check(event);
  const Lock lock(mutex_);
  if (event->record) join(stream->clock, event->record->clock);  // never recorded: nothing to wait for
}

void Streams::host_knows(const Clock& more) {
  if (includes(host_, more)) return;
  join(host_, more);
  if (host_learns_) host_learns_(host_);
}

void Streams::wait_for(Lock& lock, const Clock& clock) {
  ++host_waits_;
  enqueued_.notify_one();
  advanced_.wait(lock, [&] { return includes(completed_, clock); });
  --host_waits_;
}

void Streams::synchronize(const CUstream_st* stream) {
  Lock lock(mutex_);
  const Clock clock = clock_of_next(*stream);
  wait_for(lock, clock);
  host_knows(clock);
}

void Streams::synchronize(const CUstream_st* stream, const Clock& known) {
  Lock lock(mutex_);
  wait_for(lock, clock_of_next(*stream));
  host_knows(known);
}

void Streams::synchronize_event(const CUevent_st* event) {
  check(event);
  Lock lock(mutex_);
  if (!event->record) return;
  const Clock clock = event->record->clock;
  wait_for(lock, clock);
  host_knows(clock);
}

void Streams::synchronize_device(int device) {
  Lock lock(mutex_);
  Clock clock = host_;
  for (const auto& stream : streams_)
    if (stream->device == device) join(clock, stream->clock);
  wait_for(lock, clock);
  host_knows(clock);
}

bool Streams::query(const CUstream_st* stream) {
  const Lock lock(mutex_);
  const Clock clock = clock_of_next(*stream);
  if (!includes(completed_, clock)) return false;
  host_knows(clock);
  return true;
}

bool Streams::query_event(const CUevent_st* event) {
  check(event);
  const Lock lock(mutex_);
  if (!event->record) return true;
  if (!includes(completed_, event->record->clock)) return false;
  host_knows(event->record->clock);
  return true;
}

float Streams::milliseconds(const CUevent_st* from, const CUevent_st* to) {
  check(from);
  check(to);
  const Lock lock(mutex_);
  if (!from->timed || !to->timed)
    throw Refusal(cudaErrorInvalidResourceHandle, "an event created with cudaEventDisableTiming keeps no time");
  if (!from->record || !to->record)
    throw Refusal(cudaErrorInvalidResourceHandle, "an event that was never recorded has no time");
  if (!includes(completed_, from->record->clock) || !includes(completed_, to->record->clock))
    throw Refusal(cudaErrorNotReady, "an event has not happened yet; synchronize with it first");
  return std::chrono::duration<float, std::milli>(to->record->happened - from->record->happened).count();
}

std::string Streams::leaked() {
  const Lock lock(mutex_);
  std::string report;
  const auto add = [&](const std::string& what) { report.append(report.empty() ? "" : "; ").append(what); };
  if (!live_streams_.empty()) add(std::to_string(live_streams_.size()) + " stream(s) were not destroyed");
  if (!live_events_.empty()) add(std::to_string(live_events_.size()) + " event(s) were not destroyed");
  for (const auto& stream : streams_)
    if (!includes(host_, stream->clock))
      add("nobody waited for the work on stream " + std::to_string(stream->id) + " (" + std::to_string(stream->last) +
          " operations" +
          (stream->queue.empty() ? std::string(")") : ", the next is " + stream->queue.front().operation.label + ")"));
  return report;
}

}  // namespace trireme::gpu
