// The GPU's thread: whose turn it is, and running it. See streams.h.
#include <algorithm>
#include <utility>

#include "tests/gpu/runtime/finding.h"
#include "tests/gpu/runtime/streams.h"

namespace trireme::gpu {
namespace {

using std::chrono::steady_clock;

// While the host still enqueues, several streams fill, so that the choice among them is a real one.
constexpr std::chrono::microseconds kGathering{100};
constexpr std::chrono::microseconds kBetweenPolls{40};

std::uint64_t next_random(std::uint64_t& state) {  // SplitMix64
  std::uint64_t x = state += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

void Streams::start_thread() {
  if (!thread_.joinable() && !stop_) thread_ = std::thread([this] { serve(); });
}

void Streams::stop() {
  {
    const Lock lock(mutex_);
    stop_ = true;
    enqueued_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Streams::look_again() {
  const Lock lock(mutex_);
  enqueued_.notify_one();
}

void Streams::run_beside(std::function<Progress()> task) {
  const Lock lock(mutex_);
  start_thread();
  tasks_.push_back(std::move(task));
  enqueued_.notify_one();
}

Streams::Turn Streams::pick() {
  std::vector<CUstream_st*> fresh;
  Turn turn;
  for (const auto& stream : streams_) {
    if (stream->queue.empty() || !ready(*stream)) continue;
    ++turn.ready;
    if (!stream->queue.front().begun) fresh.push_back(stream.get());
  }
  if (!fresh.empty()) turn.stream = fresh[next_random(random_) % fresh.size()];
  return turn;
}

void Streams::run_head(Lock& lock, CUstream_st& stream) {
  CUstream_st::Item& head = stream.queue.front();  // stays where it is: only this thread takes from the queue
  head.begun = true;
  lock.unlock();
  Progress progress = Progress::kDone;
  {
    const std::lock_guard running(running_);
    try {
      progress = head.work(head.operation);
    } catch (const std::exception& error) {
      end_with_finding(error.what());
    }
  }
  lock.lock();
  if (progress == Progress::kLater) return;
  set(completed_, stream.id, head.operation.number);
  const CUstream_st::Item done = std::move(stream.queue.front());
  stream.queue.pop_front();
  advanced_.notify_all();
}

bool Streams::run_tasks(Lock& lock) {
  std::vector<std::function<Progress()>> tasks;
  tasks.swap(tasks_);
  lock.unlock();
  std::erase_if(tasks, [](const auto& task) { return task() == Progress::kDone; });
  lock.lock();
  tasks_.insert(tasks_.end(), std::make_move_iterator(tasks.begin()), std::make_move_iterator(tasks.end()));
  return !tasks_.empty();
}

void Streams::serve() {
  Lock lock(mutex_);
  while (!stop_) {
    const steady_clock::time_point gathered = last_enqueued_ + kGathering;
    Turn turn = pick();
    if (turn.stream != nullptr && host_waits_ == 0 && steady_clock::now() < gathered) {
      enqueued_.wait_until(lock, gathered);
      continue;
    }
    if (turn.stream != nullptr) {
      run_head(lock, *turn.stream);
      continue;
    }
    for (std::size_t i = 0; i < streams_.size() && !stop_; ++i)
      if (!streams_[i]->queue.empty() && streams_[i]->queue.front().begun) run_head(lock, *streams_[i]);
    const bool polls = run_tasks(lock);
    if (stop_ || pick().stream != nullptr) continue;
    const bool queued =
        std::any_of(streams_.begin(), streams_.end(), [](const auto& stream) { return !stream->queue.empty(); });
    if (turn.ready == 0 && queued && pick().ready == 0)
      end_with_finding("the streams wait for one another and none can go on");
    if (queued || polls)
      enqueued_.wait_for(lock, kBetweenPolls);
    else
      enqueued_.wait(lock);
  }
}

}  // namespace trireme::gpu
