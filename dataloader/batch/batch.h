// The model eats rectangles of tokens; a corpus is documents of any length. A BatchBuilder packs: a sample is
// sequence_length consecutive tokens of the stream, and says for each which tokens it may look at.
//
// The end-of-document token that closes a document also opens the next one: it is the target of the last token of the
// old document, and as an input the first token of the new one. So under AttentionScope::kDocument every token of every
// document, its first included, is predicted from its own document alone, no target has to be masked, and generation
// begins from that token as training did.
//
// Builders never change; threads may share one. They refer to the TokenStream, which must outlive them.
// Throws DamagedDataError (dataloader/shard/shard.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataloader/batch/plan.h"
#include "dataloader/order/sample_order.h"
#include "dataloader/shard/dataset.h"

namespace trireme {

enum class AttentionScope {
  kDocument,  // a token attends to the tokens before it in its document, as far as the sample holds them
  kSample,    // to all tokens before it in the sample
};

// S samples of T tokens, row-major: element [s, t] is at s * T + t.
struct Batch {
  std::int64_t samples = 0;                // S
  std::int64_t sequence_length = 0;        // T
  std::vector<std::int32_t> tokens;        // [S, T]
  std::vector<std::int32_t> targets;       // [S, T] the token after each
  std::vector<float> loss_mask;            // [S, T] 1, or 0 where there is padding
  std::vector<std::int32_t> positions;     // [S, T] t - key_begin: 0 where what it attends to begins
  std::vector<std::int32_t> key_begin;     // [S, T] [s, t] attends to [s, key_begin] ... [s, t]; never falls along t
  std::vector<std::int64_t> sample_index;  // [S] global indices (of a training sample), or window numbers (validation)

  std::int64_t unmasked_tokens() const;  // targets that count
  bool operator==(const Batch&) const = default;
};

// Training samples: global indices in their seeded order, for ever (dataloader/order/sample_order.h).
class TrainingBatches {
 public:
  // Throws UserError when the split is shorter than one sample.
  TrainingBatches(const TokenStream& stream, std::int64_t sequence_length, std::uint64_t seed, AttentionScope scope);

  Batch build(SampleRange samples) const;
  std::int64_t sequence_length() const { return sequence_length_; }
  std::int64_t samples_per_epoch() const { return order_.samples_per_epoch(); }
  // Targets that count in these samples, without reading them: the loss's denominator, known before any is built.
  std::int64_t unmasked_tokens(SampleRange samples) const { return samples.size() * sequence_length_; }

 private:
  const TokenStream& stream_;
  std::int64_t sequence_length_;
  AttentionScope scope_;
  SampleOrder order_;
};

// Validation: the split in order, from its beginning; every token of it is a target exactly once, the first one
// predicted from the end-of-document token. So the sum of the losses is the cost of the whole text, and bits per byte
// is that over entry().text_bytes and log 2. The last window is padded with masked end-of-document tokens.
class ValidationBatches {
 public:
  ValidationBatches(const TokenStream& stream, std::int64_t sequence_length, std::int32_t end_of_document,
                    AttentionScope scope);

  std::int64_t windows() const;  // ceil(tokens / T)
  Batch build(SampleRange windows) const;

 private:
  const TokenStream& stream_;
  std::int64_t sequence_length_;
  std::int32_t end_of_document_;
  AttentionScope scope_;
};

}  // namespace trireme
