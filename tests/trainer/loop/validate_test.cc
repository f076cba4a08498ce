#include "trainer/loop/validate.h"

#include <mutex>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/dataloader/shard/corpora.h"
#include "tests/trainer/test_rank.h"

namespace trireme {
namespace {

// A loss that tells windows apart: of each sample, the sum of its unmasked targets in order.
std::vector<float> made_up_losses(const Batch& batch) {
  std::vector<float> losses(static_cast<std::size_t>(batch.samples));
  const auto length = static_cast<std::size_t>(batch.sequence_length);
  for (std::size_t i = 0; i < losses.size() * length; ++i)
    losses[i / length] += 1e-3f * static_cast<float>(batch.targets[i]) * batch.loss_mask[i];
  return losses;
}

ValidationLoss one_window_after_another(const ValidationBatches& batches, std::int64_t windows) {
  ValidationLoss total{.whole = windows == batches.windows()};
  for (std::int64_t window = 0; window < windows; ++window) {
    const Batch batch = batches.build({window, window + 1});
    total.sum += made_up_losses(batch)[0];
    for (const float counts : batch.loss_mask) total.tokens += counts;
  }
  return total;
}

RC_GTEST_PROP(LocalValidation, IsTheSameOnAnyNumberOfRanks, ()) {
  const int ranks = *rc::gen::inRange(1, 6);
  const std::int64_t micro_batch = *rc::gen::inRange(1, 5);
  const std::int64_t most = *rc::gen::inRange(0, 14);  // 0: all
  const ValidationBatches batches(corpus(4).dataset->split("validation"), 160, 0, AttentionScope::kDocument);
  const ValidationLoss wanted =
      one_window_after_another(batches, most > 0 ? std::min(most, batches.windows()) : batches.windows());

  std::mutex mutex;
  std::vector<ValidationLoss> got;
  std::vector<int> passes;  // of each rank: in each, ranks may meet
  run_as_ranks(ranks, [&](LocalGroup& group, int rank) {
    TestRank mine(group, rank, {}, std::size_t{1} << 16);
    int passed = 0;
    const SampleLosses losses_of = [&](const Batch& batch) {
      ++passed;
      const std::vector<float> losses = made_up_losses(batch);
      ArenaTensor on_device = mine.context().arena->allocate({batch.samples}, DType::kF32, "losses");
      if (batch.samples > 0) mine.context().device->upload(mine.context().compute, on_device, losses.data());
      return on_device;
    };
    const ValidationLoss loss =
        validate(mine.context(), mine.peers(), windows_of(batches), losses_of, most, micro_batch, 3);
    const std::lock_guard lock(mutex);
    got.push_back(loss);
    passes.push_back(passed);
  });
  RC_ASSERT(got.size() == static_cast<std::size_t>(ranks));
  for (std::size_t rank = 0; rank < got.size(); ++rank) {
    RC_ASSERT(got[rank].sum == wanted.sum);
    RC_ASSERT(got[rank].tokens == wanted.tokens);
    RC_ASSERT(got[rank].whole == wanted.whole);
    RC_ASSERT(passes[rank] == passes[0]);
  }
}

}  // namespace
}  // namespace trireme
