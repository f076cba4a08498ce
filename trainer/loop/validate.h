// The validation loss must not depend on how many ranks computed it, or two runs could not be compared. Each window's
// loss is summed by itself; ranks exchange these sums and add them up in one order.
#pragma once

#include <cstdint>
#include <functional>

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "parallel/comm/communicator.h"

namespace trireme {

struct ValidationLoss {
  double sum = 0;      // nats over all unmasked tokens
  double tokens = 0;   // of these
  bool whole = false;  // the split was covered to its end
};

// What is validated on: windows [0, count).
struct ValidationWindows {
  std::int64_t count = 0;
  std::function<Batch(SampleRange)> build;
};
ValidationWindows windows_of(const ValidationBatches& batches);  // which must outlive them

// [samples] f32 on the device: trainer/step/sample_losses.h.
using SampleLosses = std::function<ArenaTensor(const Batch&)>;

// Of the first `max_samples` windows (0: all), each rank of data parallelism taking a part, `micro_batch` of them at
// once. Collective.
ValidationLoss validate(Context& context, Communicator& dp, const ValidationWindows& windows,
                        const SampleLosses& losses, std::int64_t max_samples, std::int64_t micro_batch,
                        std::int64_t for_step);

}  // namespace trireme
