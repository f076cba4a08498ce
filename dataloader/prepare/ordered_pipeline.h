// One thread can read a corpus, many must tokenize it, and one must write it in the order in which it was read. Plain
// queues between them either lose the order or, behind one slow item, hold the whole corpus.
//
// run_in_order: produce() on a thread of its own, transform(worker, item) on `workers` threads, consume(result) on the
// caller's, in the order of production. The items between produce and consume weigh at most `budget` together (or there
// is one heavier item alone). What comes out does not depend on the number of workers, and neither does an error: the
// one thrown is that of the earliest item, after everything before it was consumed. No thread outlives the call.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace trireme {

// produce: () -> std::optional<Item>, empty at the end. weigh: (const Item&) -> bytes.
// transform: (int worker, Item) -> Result. consume: (Result) -> void.
template <class Produce, class Weigh, class Transform, class Consume>
void run_in_order(int workers, std::size_t budget, Produce produce, Weigh weigh, Transform transform, Consume consume) {
  using Item = typename decltype(produce())::value_type;
  using Result = decltype(transform(0, std::declval<Item>()));
  struct Task {
    std::uint64_t number;
    std::size_t weight;
    Item item;
  };
  struct Outcome {
    std::size_t weight = 0;
    std::optional<Result> result;  // empty: `error`, or the end if that is null
    std::exception_ptr error;
  };

  std::mutex mutex;
  std::condition_variable room, work, outcome_ready;
  std::deque<Task> tasks;
  std::map<std::uint64_t, Outcome> outcomes;
  std::size_t in_flight = 0;
  bool stop = false;

  const auto put = [&](std::uint64_t number, Outcome outcome) {
    const std::lock_guard lock(mutex);
    outcomes.emplace(number, std::move(outcome));
    outcome_ready.notify_one();
  };

  const auto read = [&] {
    std::uint64_t number = 0;
    try {
      while (std::optional<Item> item = produce()) {
        const std::size_t weight = weigh(*item);
        std::unique_lock lock(mutex);
        room.wait(lock, [&] { return stop || in_flight == 0 || in_flight + weight <= budget; });
        if (stop) return;
        in_flight += weight;
        tasks.push_back({number++, weight, *std::move(item)});
        work.notify_one();
      }
      put(number, {});
    } catch (...) {
      put(number, {0, std::nullopt, std::current_exception()});
    }
  };

  const auto serve = [&](int worker) {
    while (true) {
      std::unique_lock lock(mutex);
      work.wait(lock, [&] { return stop || !tasks.empty(); });
      if (stop) return;
      Task task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      Outcome outcome{task.weight, std::nullopt, nullptr};
      try {
        outcome.result.emplace(transform(worker, std::move(task.item)));
      } catch (...) {
        outcome.error = std::current_exception();
      }
      put(task.number, std::move(outcome));
    }
  };

  std::vector<std::thread> threads;
  // Joins whatever was started, however the caller's part ends.
  struct Joiner {
    std::vector<std::thread>& threads;
    std::mutex& mutex;
    bool& stop;
    std::condition_variable& room;
    std::condition_variable& work;
    ~Joiner() {
      {
        const std::lock_guard lock(mutex);
        stop = true;
        room.notify_all();
        work.notify_all();
      }
      for (std::thread& thread : threads) thread.join();
    }
  } joiner{threads, mutex, stop, room, work};

  for (int worker = 0; worker < workers; ++worker) threads.emplace_back(serve, worker);
  threads.emplace_back(read);

  for (std::uint64_t next = 0;; ++next) {
    std::unique_lock lock(mutex);
    outcome_ready.wait(lock, [&] { return outcomes.contains(next); });
    Outcome outcome = std::move(outcomes.extract(next).mapped());
    lock.unlock();
    if (outcome.error) std::rethrow_exception(outcome.error);
    if (!outcome.result) return;
    consume(*std::move(outcome.result));
    lock.lock();
    in_flight -= outcome.weight;
    room.notify_one();
  }
}

}  // namespace trireme
