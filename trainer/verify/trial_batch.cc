#include "cuda/core/philox.h"
#include "trainer/verify/trial.h"

namespace trireme {

Batch trial_batch(const config::Model& model, SampleRange samples) {
  const std::uint64_t key = key_of(0, "trial batch");
  Batch batch;
  batch.samples = samples.size();
  batch.sequence_length = model.sequence_length();
  for (std::int64_t index = samples.begin; index < samples.end; ++index) {
    const auto sample = static_cast<std::uint32_t>(index);
    // One, three, five or seven of eight targets count, so that ranks and micro-batches have unlike shares.
    const std::uint32_t counted_of_eight = sample % 4 * 2 + 1;
    std::int32_t begin = 0;
    for (std::int32_t t = 0; t < model.sequence_length(); ++t) {
      const PhiloxBlock random = philox(key, sample, static_cast<std::uint32_t>(t), 0, 0);
      const auto vocabulary = static_cast<std::uint32_t>(model.vocab_size());
      if (t > 0 && random.lane[0] % 6 == 0) begin = t;
      const bool counts = t == 0 || random.lane[1] % 8 < counted_of_eight;
      batch.tokens.push_back(static_cast<std::int32_t>(random.lane[2] % vocabulary));
      batch.targets.push_back(counts ? static_cast<std::int32_t>(random.lane[3] % vocabulary) : -1);
      batch.loss_mask.push_back(counts ? 1.0f : 0.0f);
      batch.positions.push_back(t - begin);
      batch.key_begin.push_back(begin);
    }
    batch.sample_index.push_back(index);
  }
  return batch;
}

}  // namespace trireme
