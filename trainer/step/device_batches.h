// The loader's micro-batches (host vectors, places counted within a sample) as what layers take (device tensors, places
// counted within the micro-batch).
#pragma once

#include <span>
#include <vector>

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "parallel/tensor/tensor_group.h"
#include "trainer/model/pass.h"

namespace trireme {

// How the rows of the samples that one rank takes in a step are cut into spans (trainer/model/pass.h).
struct SpanRule {
  enum class Kind {
    kWhole,      // one span, group 0
    kPerSample,  // one for each sample
  } kind = Kind::kWhole;
  std::int64_t samples_per_group = 1;  // of kPerSample: sample i of the step goes to group i / samples_per_group
};

// A batch of these sizes whose values nobody reads.
Batch shape_only_batch(std::int64_t samples, std::int64_t sequence_length);

// Owns the tensors, in context.arena, category "tokens".
class DeviceBatches {
 public:
  // Uploads on the compute stream; the batches may go when this returns. Of `group`'s ranks each holds a share of
  // every batch's rows.
  DeviceBatches(Context& context, std::span<const Batch> batches, const SpanRule& rule, const TensorGroup& group = {});

  std::size_t size() const { return batches_.size(); }
  const DeviceBatch& operator[](std::size_t index) const { return batches_[index]; }

 private:
  std::vector<DeviceBatch> batches_;
  std::vector<ArenaTensor> owners_;
};

}  // namespace trireme
