// The thread that runs host functions (cudaLaunchHostFunc), one at a time and in the order in which their turn came.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/gpu/runtime/gpu.h"

namespace trireme::gpu {
namespace {

struct Errand {
  std::function<void()> function{};
  Clock before{};
  bool begun = false;  // of the GPU's thread alone
  std::atomic<bool> done{false};
};

class HostFunctions {
 public:
  static HostFunctions& of_process() {
    static auto* const functions = new HostFunctions;
    return *functions;
  }

  void run(std::shared_ptr<Errand> errand) {
    const std::lock_guard lock(mutex_);
    errands_.push_back(std::move(errand));
    added_.notify_one();
  }

 private:
  HostFunctions() {
    std::thread([this] { serve(); }).detach();
  }

  void serve() {
    Gpu::current_device() = kInHostFunction;
    for (;;) {
      std::unique_lock lock(mutex_);
      added_.wait(lock, [&] { return !errands_.empty(); });
      const std::shared_ptr<Errand> errand = std::move(errands_.front());
      errands_.pop_front();
      lock.unlock();
      Memory& memory = Gpu::of_process().memory;
      memory.in_host_function(&errand->before);
      errand->function();
      memory.in_host_function(nullptr);
      errand->done = true;
      Gpu::of_process().streams.look_again();
    }
  }

  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::shared_ptr<Errand>> errands_;
};

}  // namespace

Work host_function(std::function<void()> function) {
  auto errand = std::make_shared<Errand>();
  errand->function = std::move(function);
  return [errand](const Operation& operation) {
    if (!errand->begun) {
      errand->before = *operation.before;
      errand->begun = true;
      HostFunctions::of_process().run(errand);
    }
    return errand->done ? Progress::kDone : Progress::kLater;
  };
}

}  // namespace trireme::gpu
