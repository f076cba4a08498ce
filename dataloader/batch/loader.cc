#include "dataloader/batch/loader.h"

#include <utility>

#include "monitoring/check.h"

namespace trireme {

Loader::Loader(const TokenStream& stream, const LoaderOptions& options, const BatchPlan& plan, std::int64_t first_step)
    : batches_(stream, options.sequence_length, options.seed, options.scope), plan_(plan), capacity_(options.prefetch) {
  CHECK(capacity_ >= 1 && first_step >= 0, capacity_, ", ", first_step);
  CHECK(plan.micro_batch >= 1 && plan.dp >= 1 && plan.dp <= plan.global_batch, plan.micro_batch, ", ", plan.dp, ", ",
        plan.global_batch);
  CHECK(0 <= plan.rank && plan.rank < plan.dp, plan.rank, " of ", plan.dp);
  thread_ = std::jthread([this, first_step, rank = whereabouts().rank](std::stop_token stop) {
    whereabouts().rank = rank;
    prefetch(std::move(stop), first_step);
  });
}

void Loader::prefetch(std::stop_token stop, std::int64_t first_step) {
  try {
    for (std::int64_t step = first_step;; ++step) {
      whereabouts().step = step;
      const std::int64_t unmasked = batches_.unmasked_tokens(plan_.rank_range(step));
      for (std::int64_t m = 0; m < plan_.micro_batches(); ++m) {
        MicroBatch batch{step, m, unmasked, batches_.build(plan_.micro_range(step, m))};
        if (!deliver(std::move(batch), stop)) return;
      }
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

// False when the loader is being destroyed.
bool Loader::deliver(MicroBatch&& batch, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, stop, [this] { return ready_.size() < capacity_; })) return false;
  ready_.push_back(std::move(batch));
  changed_.notify_all();
  return true;
}

MicroBatch Loader::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || error_; });
  if (ready_.empty()) std::rethrow_exception(error_);
  MicroBatch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace trireme
