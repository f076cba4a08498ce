// The streams of one host device: queues of tasks, records and waits, and who runs them. Compute streams in immediate
// mode have no queue. Each communication stream has a thread of its own, so that two collectives in different groups,
// each blocked on other peers, do not wait for one another.
//
// In lazy mode nothing runs until `synchronize`, whose caller then picks, in an order that follows from the seed, among
// the streams whose next item may run. No item that may wait for a peer runs in the picker: were it to block there, a
// transfer of another stream that this peer waits for in its turn would never start. What may wait is any task of a
// communication stream and, of a compute stream, what `Device::run` gave it (a collective of tensor parallelism); each
// stream has a thread for those. The picker waits for such a task, but not longer than kPatience once it has begun.
//
// Exceptions: the first one thrown by a queued task stays with the device. Tasks queued behind it, on any stream, are
// skipped, records happen, and every later wait or synchronize throws it.
// Thread-safe. Waits block.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cuda/core/device.h"
#include "cuda/host/host_device.h"
#include "cuda/host/host_stream.h"
#include "monitoring/check.h"

namespace trireme::host {

class StreamQueues {
 public:
  StreamQueues(StreamMode mode, std::uint64_t shuffle_seed, int threads, MemoryGuard* guard);
  ~StreamQueues();  // CHECKs that every stream was destroyed

  Stream create_stream(StreamKind kind, const char* label);
  void destroy_stream(Stream stream);
  Event create_event();
  void destroy_event(Event event);

  // `may_wait`: for something that another stream, or a peer's, may have to do first.
  static void push(Stream stream, std::function<void()> task, bool may_wait);
  void record(Stream stream, Event event);
  void wait(Stream stream, Event event);
  void synchronize(Stream stream);

 private:
  static constexpr std::chrono::milliseconds kPatience{10};

  // Counts, so that a wait means the last record before it and not a later one.
  struct EventState {
    std::uint64_t recorded = 0;
    std::uint64_t happened = 0;
  };
  enum class Kind { kTask, kRecord, kWait };
  struct Item {
    Kind kind;
    std::function<void()> task;
    bool on_thread = false;  // the task may wait: the picker leaves it to the stream's thread
    std::shared_ptr<EventState> event;
    std::uint64_t count = 0;  // of the event
    Whereabouts issuer;
  };
  struct QueuedStream;

  static QueuedStream& queued(Stream stream);
  using Lock = std::unique_lock<std::mutex>;
  bool runnable(const QueuedStream& stream) const;
  void run_head(Lock& lock, QueuedStream& stream);
  void serve(QueuedStream& stream);
  void finish(Lock& lock, QueuedStream& stream);
  void drain(Lock& lock, QueuedStream& stream);
  QueuedStream* pick();
  std::string report() const;
  void rethrow(Lock& lock);

  const StreamMode mode_;
  const int threads_;
  MemoryGuard* const guard_;

  std::mutex mutex_;
  std::condition_variable changed_;  // anything below has
  std::vector<std::unique_ptr<QueuedStream>> streams_;
  std::exception_ptr error_;
  std::uint64_t shuffle_;
  bool draining_ = false;  // lazy: somebody picks
};

}  // namespace trireme::host
