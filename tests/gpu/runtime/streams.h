// A GPU works on its streams while the host does something else, in an order that changes from run to run. Here one
// background thread, "the GPU", takes the heads of streams whose turn has come in a seeded random order, so that work
// goes on while the host waits elsewhere (for MPI, say); and every operation carries the clock of what happened before
// it, from which missing order is found whatever the schedule was.
//
// Invariants. The clock that is checked is the clock that orders: an operation starts when, and not before, everything
// in its `before` is complete. It holds what was on its stream, what the events waited for hold, and what the host had
// synchronised with when it called; on the legacy default stream also everything on streams that block with it, and the
// other way round. What the host learnt in another way (memory it polled, a host function that woke it) is not order.
// An operation that waits for others (a collective, a host function) never blocks the thread: it says kLater and is
// asked again.
//
// Ownership: streams and events are owned here and live as long as the process; a destroyed handle is refused. Thread-
// safe. `work` runs on the GPU's thread, without locks but `between_operations`.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <driver_types.h>

#include "tests/gpu/runtime/clock.h"

namespace trireme::gpu {

enum class Progress { kDone, kLater };
using Work = std::function<Progress(const Operation&)>;

struct EventRecord {  // what an event refers to since it was last recorded
  Clock clock;
  std::chrono::steady_clock::time_point happened;
};

}  // namespace trireme::gpu

// CUDA's handles point to these.
struct CUstream_st {
  std::uint32_t id = 0;
  int device = 0;
  int priority = 0;
  unsigned flags = 0;
  bool blocks_with_default = true;
  bool destroyed = false;
  std::uint64_t last = 0;     // number of the operation enqueued last; numbers start at 1
  trireme::gpu::Clock clock;  // of everything that the next operation comes after
  struct Item {
    trireme::gpu::Operation operation;
    std::unique_ptr<trireme::gpu::Clock> before;
    std::unique_ptr<trireme::gpu::Clock> known;
    trireme::gpu::Work work;
    bool begun = false;
  };
  std::deque<Item> queue;
};

struct CUevent_st {
  int device = 0;
  bool timed = true;
  std::shared_ptr<trireme::gpu::EventRecord> record;  // null: never recorded
};

namespace trireme::gpu {

class Streams {
 public:
  explicit Streams(std::uint64_t seed) : random_(seed) {}

  CUstream_st* create(int device, unsigned flags, int priority);
  void destroy(CUstream_st* stream);                   // what is on it still runs
  CUstream_st* find(cudaStream_t handle, int device);  // throws Refusal; null and cudaStreamLegacy: the default stream

  // `ordered`, if any, is called at once, with the operation as it will run.
  void enqueue(CUstream_st* stream, std::string label, Work work,
               const std::function<void(const Operation&)>& ordered = {});

  CUevent_st* create_event(int device, bool timed);
  void destroy_event(CUevent_st* event);
  void record(CUevent_st* event, CUstream_st* stream);
  void wait(CUstream_st* stream, CUevent_st* event);

  // The host waits, and what it enqueues from here on comes after.
  void synchronize(const CUstream_st* stream);
  void synchronize_event(const CUevent_st* event);
  void synchronize_device(int device);
  void synchronize(const CUstream_st* stream, const Clock& known);  // waits for all of it, comes after `known` only

  bool query(const CUstream_st* stream);  // complete? Then the host has synchronised with it
  bool query_event(const CUevent_st* event);
  float milliseconds(const CUevent_st* from, const CUevent_st* to);  // throws Refusal

  // Called, with locks held, with all that the host has synchronised with, whenever that grows. Once, at the start.
  void when_host_learns(std::function<void(const Clock&)> learns) { host_learns_ = std::move(learns); }

  // Held: nothing runs. For changes of memory that operations would meet.
  std::unique_lock<std::mutex> between_operations() { return std::unique_lock(running_); }
  void look_again();  // something that an operation waits for has happened

  // Called often from the GPU's thread, beside operations, until it returns kDone: a library's own business.
  void run_beside(std::function<Progress()> task);

  void stop();                          // the GPU's thread ends; only at the end of the process
  std::string leaked();                 // streams, events and work that nobody destroyed or waited for; "" if none
  void check(const CUevent_st* event);  // throws Refusal where it is no event
 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Turn {
    CUstream_st* stream = nullptr;
    std::size_t ready = 0;  // streams whose next operation may run
  };
  void serve();
  bool ready(const CUstream_st& stream) const { return includes(completed_, *stream.queue.front().before); }
  Turn pick();
  void run_head(Lock& lock, CUstream_st& stream);
  bool run_tasks(Lock& lock);
  void wait_for(Lock& lock, const Clock& clock);
  Clock clock_of_next(const CUstream_st& stream) const;
  void start_thread();
  void host_knows(const Clock& more);

  std::mutex running_;  // the GPU's thread holds it while an operation runs; never taken after mutex_
  std::mutex mutex_;    // everything below
  std::condition_variable enqueued_, advanced_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;  // by id
  std::vector<CUstream_st*> default_streams_;          // by device
  std::vector<std::unique_ptr<CUevent_st>> events_;
  std::set<const CUevent_st*> live_events_;
  std::set<const CUstream_st*> live_streams_;
  std::vector<std::function<Progress()>> tasks_;
  Clock completed_, host_;
  std::function<void(const Clock&)> host_learns_;
  std::uint64_t random_;
  int host_waits_ = 0;
  std::chrono::steady_clock::time_point last_enqueued_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace trireme::gpu
