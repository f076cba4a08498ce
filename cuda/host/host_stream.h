// An op must not care whether its stream runs at once, on another thread, or lazily in a shuffled order. It hands its
// work to `enqueue`, which knows; where the stream runs at once, that costs a call and no allocation.
//
// Internal to cuda/host. Work is called with the number of threads that it may use: the device's on a compute stream, 1
// on a communication stream, which runs beside compute. Queued work outlives the call, so it holds its arguments by
// value: a `Tensors` is a span, and must be copied into a vector first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include <omp.h>

#include "cuda/core/device.h"

namespace trireme::host {

class MemoryGuard;

// The part of a host stream that ops see: what Stream::handle points to.
struct StreamFront {
  bool at_once = false;
  int threads = 1;
  MemoryGuard* guard = nullptr;  // null: memory is always readable
};

// While one lives, the device's memory may be touched. They nest, and may live on several threads.
class OpenMemory {
 public:
  explicit OpenMemory(MemoryGuard* guard) : guard_(guard) {
    if (guard_ != nullptr) open();
  }
  ~OpenMemory() {
    if (guard_ != nullptr) close();
  }
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;

 private:
  void open();
  void close();
  MemoryGuard* guard_;
};

void push(Stream stream, std::function<void()> task);

// `work(int threads)` runs in stream order: now, or later.
template <class Work>
void enqueue(Stream stream, Work work) {
  const StreamFront& front = *static_cast<const StreamFront*>(stream.handle);
  if (front.at_once) {
    OpenMemory open(front.guard);
    work(front.threads);
    return;
  }
  push(stream, [threads = front.threads, work = std::move(work)]() mutable { work(threads); });
}

// body(begin, end) over contiguous ranges that cover [0, n), one for each thread. With one thread it runs inline:
// ThreadSanitizer then sees no libgomp. The body must not throw.
template <class Body>
void parallel_for(int threads, std::int64_t n, const Body& body) {
  if (threads <= 1 || n <= 1) {
    if (n > 0) body(std::int64_t{0}, n);
    return;
  }
  const int team = static_cast<int>(std::min<std::int64_t>(threads, n));
#pragma omp parallel num_threads(team)
  {
    const std::int64_t me = omp_get_thread_num();
    const std::int64_t all = omp_get_num_threads();
    body(n * me / all, n * (me + 1) / all);
  }
}

// body(i) for each i in [0, n), handed out one by one: for tasks of unequal size. Low numbers start first.
template <class Body>
void parallel_tasks(int threads, std::int64_t n, const Body& body) {
  if (threads <= 1 || n <= 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  const int team = static_cast<int>(std::min<std::int64_t>(threads, n));
#pragma omp parallel for schedule(dynamic, 1) num_threads(team)
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace trireme::host
