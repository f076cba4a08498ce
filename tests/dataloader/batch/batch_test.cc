#include "dataloader/batch/batch.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/dataloader/shard/corpora.h"

namespace trireme {

namespace {

constexpr std::int32_t kEndOfDocument = 0;

// What key_begin must be, the slow way: the last end-of-document token at or before t, which opens t's document.
std::int32_t document_begin(const Batch& batch, std::int64_t row, std::int64_t t) {
  for (; t > 0; --t)
    if (batch.tokens[row + t] == kEndOfDocument) break;
  return static_cast<std::int32_t>(t);
}

}  // namespace

RC_GTEST_PROP(TrainingBatches, HoldTheOrdersTokensAndAttendWithinDocuments, ()) {
  const Corpus& written = corpus(*rc::gen::inRange(0, kCorpora));
  const std::uint64_t n = written.tokens.size();
  const auto length = *rc::gen::inRange<std::int64_t>(1, 80);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto first = *rc::gen::inRange<std::int64_t>(0, 1000);
  const auto scope = *rc::gen::element(AttentionScope::kDocument, AttentionScope::kSample);
  const TrainingBatches batches(written.dataset->split("train"), length, seed, scope);
  const Batch batch = batches.build({first, first + 3});

  RC_ASSERT(batch.samples == 3);
  RC_ASSERT(batch.sequence_length == length);
  RC_ASSERT(batch.sample_index == (std::vector<std::int64_t>{first, first + 1, first + 2}));
  RC_ASSERT(batch.unmasked_tokens() == 3 * length);
  RC_ASSERT(batches.unmasked_tokens({first, first + 3}) == 3 * length);
  const SampleOrder order(n, length, seed);
  for (std::int64_t s = 0; s < 3; ++s)
    for (std::int64_t t = 0; t < length; ++t) {
      const std::uint64_t at = order.sample(first + s).begin + static_cast<std::uint64_t>(t);
      const std::int64_t i = s * length + t;
      RC_ASSERT(batch.tokens[i] == written.tokens[at % n]);
      RC_ASSERT(batch.targets[i] == written.tokens[(at + 1) % n]);
      const std::int32_t begin = scope == AttentionScope::kSample ? 0 : document_begin(batch, s * length, t);
      RC_ASSERT(batch.key_begin[i] == begin);
      RC_ASSERT(batch.positions[i] == t - begin);
    }
}

RC_GTEST_PROP(ValidationBatches, PredictEveryTokenOnceInOrderFromItsOwnDocument, ()) {
  const Corpus& written = corpus(*rc::gen::inRange(0, kCorpora));
  const auto length = *rc::gen::inRange<std::int64_t>(1, 50);
  const auto scope = *rc::gen::element(AttentionScope::kDocument, AttentionScope::kSample);
  const ValidationBatches batches(written.dataset->split("validation"), length, kEndOfDocument, scope);
  std::vector<std::int32_t> predicted;
  std::int32_t before = kEndOfDocument;
  for (std::int64_t window = 0; window < batches.windows();) {
    const auto count = std::min<std::int64_t>(*rc::gen::inRange(1, 4), batches.windows() - window);
    const Batch batch = batches.build({window, window + count});
    for (std::int64_t i = 0; i < count * length; ++i) {
      const bool padding = predicted.size() == written.tokens.size();
      RC_ASSERT(batch.loss_mask[i] == (padding ? 0.0f : 1.0f));
      const std::int64_t t = i % length;
      if (!padding) {
        RC_ASSERT(batch.tokens[i] == before);
        predicted.push_back(before = batch.targets[i]);
        const std::int32_t begin = scope == AttentionScope::kSample ? 0 : document_begin(batch, i - t, t);
        RC_ASSERT(batch.key_begin[i] == begin);
      }
      RC_ASSERT(batch.positions[i] == t - batch.key_begin[i]);
      if (t > 0) RC_ASSERT(batch.key_begin[i] >= batch.key_begin[i - 1]);
      RC_ASSERT(batch.key_begin[i] <= t);
    }
    window += count;
  }
  RC_ASSERT(predicted == written.tokens);
}

TEST(ValidationBatches, NoTargetAttendsToPadding) {
  const Corpus written({7, 6}, 300);
  const ValidationBatches batches(written.dataset->split("validation"), 10, kEndOfDocument, AttentionScope::kSample);
  const Batch batch = batches.build({1, 2});
  EXPECT_EQ(batch.unmasked_tokens(), 3);
  EXPECT_EQ(batch.key_begin, (std::vector<std::int32_t>{0, 0, 0, 3, 3, 3, 3, 3, 3, 3}));
}

}  // namespace trireme
