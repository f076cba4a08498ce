#include "cuda/host/stream_queues.h"

#include <algorithm>

#include "cuda/core/philox.h"
#include "monitoring/check.h"

namespace trireme::host {
namespace {

thread_local const StreamQueues* task_of = nullptr;  // whose task this thread runs

}  // namespace

struct StreamQueues::QueuedStream : StreamFront {
  StreamQueues* owner = nullptr;
  std::string label;
  std::deque<Item> items;
  bool busy = false;     // a task of it runs
  bool granted = false;  // lazy: the thread may run one task
  bool closing = false;
  bool communicates = false;
  std::thread thread;  // none where all runs at once
};

StreamQueues::StreamQueues(StreamMode mode, std::uint64_t shuffle_seed, int threads, MemoryGuard* guard)
    : mode_(mode), threads_(threads), guard_(guard), shuffle_(mix64(shuffle_seed)) {}

StreamQueues::~StreamQueues() { CHECK(streams_.empty(), streams_.size(), " streams outlive their device"); }

StreamQueues::QueuedStream& StreamQueues::queued(Stream stream) {
  CHECK(stream.handle != nullptr, "a stream of no device");
  return static_cast<QueuedStream&>(*static_cast<StreamFront*>(stream.handle));
}

Stream StreamQueues::create_stream(StreamKind kind, const char* label) {
  auto stream = std::make_unique<QueuedStream>();
  const bool compute = kind == StreamKind::kCompute;
  stream->at_once = compute && mode_ == StreamMode::kImmediate;
  stream->threads = compute ? threads_ : 1;
  stream->guard = guard_;
  stream->owner = this;
  stream->label = label;
  stream->communicates = !compute;
  QueuedStream& made = *stream;
  if (!made.at_once) made.thread = std::thread([this, &made] { serve(made); });
  std::lock_guard lock(mutex_);
  streams_.push_back(std::move(stream));
  return {static_cast<StreamFront*>(&made)};
}

void StreamQueues::destroy_stream(Stream handle) {
  QueuedStream& stream = queued(handle);
  Lock lock(mutex_);
  finish(lock, stream);
  stream.closing = true;
  changed_.notify_all();
  if (stream.thread.joinable()) {
    lock.unlock();
    stream.thread.join();
    lock.lock();
  }
  std::erase_if(streams_, [&](const auto& each) { return each.get() == &stream; });
}

Event StreamQueues::create_event() { return {new std::shared_ptr<EventState>(std::make_shared<EventState>())}; }
void StreamQueues::destroy_event(Event event) { delete static_cast<std::shared_ptr<EventState>*>(event.handle); }

// An op: it computes, and waits for nobody.
void push(Stream stream, std::function<void()> task) { StreamQueues::push(stream, std::move(task), false); }

void StreamQueues::push(Stream handle, std::function<void()> task, bool may_wait) {
  QueuedStream& stream = queued(handle);
  std::lock_guard lock(stream.owner->mutex_);
  const bool on_thread = may_wait || stream.communicates;
  stream.items.push_back({Kind::kTask, std::move(task), on_thread, nullptr, 0, whereabouts()});
  stream.owner->changed_.notify_all();
}

void StreamQueues::record(Stream handle, Event event) {
  QueuedStream& stream = queued(handle);
  const auto& state = *static_cast<std::shared_ptr<EventState>*>(event.handle);
  std::lock_guard lock(mutex_);
  const std::uint64_t count = ++state->recorded;
  if (stream.at_once)
    state->happened = count;
  else
    stream.items.push_back({Kind::kRecord, {}, false, state, count, {}});
  changed_.notify_all();
}

void StreamQueues::wait(Stream handle, Event event) {
  QueuedStream& stream = queued(handle);
  const auto state = *static_cast<std::shared_ptr<EventState>*>(event.handle);
  Lock lock(mutex_);
  const std::uint64_t count = state->recorded;
  if (stream.at_once)
    changed_.wait(lock, [&] { return state->happened >= count; });
  else
    stream.items.push_back({Kind::kWait, {}, false, state, count, {}});
  changed_.notify_all();
  rethrow(lock);
}

void StreamQueues::synchronize(Stream handle) {
  QueuedStream& stream = queued(handle);
  Lock lock(mutex_);
  finish(lock, stream);
  rethrow(lock);
}

void StreamQueues::rethrow(Lock& lock) {
  if (!error_) return;
  const std::exception_ptr error = error_;
  lock.unlock();
  std::rethrow_exception(error);
}

bool StreamQueues::runnable(const QueuedStream& stream) const {
  if (stream.items.empty() || stream.busy || stream.granted) return false;
  const Item& head = stream.items.front();
  return head.kind != Kind::kWait || head.event->happened >= head.count;
}

// The head is runnable, or a task that was granted. The lock is let go while a task runs.
void StreamQueues::run_head(Lock& lock, QueuedStream& stream) {
  Item item = std::move(stream.items.front());
  stream.items.pop_front();
  if (item.kind == Kind::kRecord) item.event->happened = std::max(item.event->happened, item.count);
  if (item.kind == Kind::kTask && !error_) {
    stream.busy = true;
    lock.unlock();
    std::exception_ptr error;
    task_of = this;
    try {
      OpenMemory open(guard_);
      item.task();
    } catch (...) {
      error = std::current_exception();
    }
    task_of = nullptr;
    item.task = nullptr;  // what it holds goes before others hear that it is done
    lock.lock();
    stream.busy = false;
    if (error && !error_) error_ = error;
  }
  changed_.notify_all();
}

// The life of a stream's thread.
void StreamQueues::serve(QueuedStream& stream) {
  Lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] {
      return stream.granted || (mode_ == StreamMode::kImmediate && runnable(stream)) ||
             (stream.closing && stream.items.empty());
    });
    if (stream.items.empty()) return;
    whereabouts() = stream.items.front().issuer;
    stream.granted = false;
    changed_.notify_all();  // the picker's patience begins
    run_head(lock, stream);
  }
}

// Returns when the stream has nothing left.
void StreamQueues::finish(Lock& lock, QueuedStream& stream) {
  if (mode_ == StreamMode::kImmediate) {
    changed_.wait(lock, [&] { return stream.items.empty() && !stream.busy; });
    return;
  }
  CHECK(task_of != this, "a task on a lazy stream synchronizes: it would wait for itself");
  changed_.wait(lock, [&] { return !draining_; });
  draining_ = true;
  drain(lock, stream);
  draining_ = false;
  changed_.notify_all();
}

void StreamQueues::drain(Lock& lock, QueuedStream& target) {
  while (!target.items.empty() || target.busy) {
    QueuedStream* next = pick();
    if (next == nullptr) {
      const bool hope =
          std::any_of(streams_.begin(), streams_.end(), [](const auto& each) { return each->busy || each->granted; });
      CHECK(hope, "deadlock: no stream can go on", report());
      changed_.wait(lock);
    } else if (next->items.front().on_thread) {
      next->granted = true;
      changed_.notify_all();
      changed_.wait(lock, [&] { return !next->granted; });  // a busy machine may be late to begin it
      changed_.wait_for(lock, kPatience, [&] { return !next->busy; });
    } else {
      run_head(lock, *next);
    }
  }
}

StreamQueues::QueuedStream* StreamQueues::pick() {
  std::uint64_t choices = 0;
  for (const auto& stream : streams_) choices += runnable(*stream);
  if (choices == 0) return nullptr;
  shuffle_ = mix64(shuffle_);
  std::uint64_t skip = shuffle_ % choices;
  for (const auto& stream : streams_)
    if (runnable(*stream) && skip-- == 0) return stream.get();
  return nullptr;
}

std::string StreamQueues::report() const {
  std::string text;
  for (const auto& stream : streams_) {
    text += "; stream " + stream->label + ": " + std::to_string(stream->items.size()) + " left";
    if (stream->items.empty()) continue;
    const Item& head = stream->items.front();
    if (head.kind == Kind::kWait)
      text += ", waits for record " + std::to_string(head.count) + " of an event that happened " +
              std::to_string(head.event->happened) + " times";
  }
  return text;
}

}  // namespace trireme::host
