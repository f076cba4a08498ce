// Reading, checking and packing tokens must not delay a step. A Loader builds a rank's micro-batches ahead on a thread
// of its own, in the order of the plan, and hands them out one by one.
//
// What it hands out is a function of (split, options, plan, step) alone: a Loader made at step s gives exactly what one
// made at step 0 gives from its step s on, whatever dp either had (dataloader/batch/plan.h).
// At most `prefetch` batches wait. next() waits for the thread; an error on the thread is thrown by the next() that
// would have returned that batch, and by every one after it. The destructor stops the thread and joins it. next() is
// for one thread; the TokenStream must outlive the Loader.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <stop_token>
#include <thread>

#include "dataloader/batch/batch.h"
#include "dataloader/batch/plan.h"
#include "dataloader/shard/dataset.h"

namespace trireme {

struct LoaderOptions {
  std::int64_t sequence_length = 0;
  std::uint64_t seed = 0;
  AttentionScope scope = AttentionScope::kDocument;
  std::size_t prefetch = 8;  // batches, at least 1
};

struct MicroBatch {
  std::int64_t step = 0;
  std::int64_t index = 0;  // of plan.micro_batches() in this step
  // This rank's targets that count in the whole step; all ranks' sum is the loss's denominator, known before any pass.
  std::int64_t step_unmasked_tokens = 0;
  Batch batch;
};

class Loader {
 public:
  // Begins with micro-batch 0 of first_step. Throws UserError when the split is shorter than one sample.
  Loader(const TokenStream& stream, const LoaderOptions& options, const BatchPlan& plan, std::int64_t first_step);
  ~Loader() = default;
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Step after step, without end. Throws DamagedDataError.
  MicroBatch next();

  const BatchPlan& plan() const { return plan_; }
  std::int64_t samples_per_epoch() const { return batches_.samples_per_epoch(); }

 private:
  void prefetch(std::stop_token stop, std::int64_t first_step);
  bool deliver(MicroBatch&& batch, std::stop_token stop);

  const TrainingBatches batches_;
  const BatchPlan plan_;
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<MicroBatch> ready_;  // guarded by mutex_
  std::exception_ptr error_;      // guarded by mutex_; thrown once ready_ is empty
  std::jthread thread_;           // last: it uses all of the above
};

}  // namespace trireme
