#include "dataloader/batch/batch.h"

#include <algorithm>

#include "monitoring/check.h"

namespace trireme {

namespace {

Batch empty_batch(SampleRange samples, std::int64_t sequence_length) {
  CHECK(0 <= samples.begin && samples.begin <= samples.end, samples.begin, " to ", samples.end);
  Batch batch;
  batch.samples = samples.size();
  batch.sequence_length = sequence_length;
  const auto elements = static_cast<std::size_t>(batch.samples * sequence_length);
  batch.tokens.resize(elements);
  batch.targets.resize(elements);
  batch.loss_mask.assign(elements, 1.0f);
  batch.positions.resize(elements);
  batch.key_begin.resize(elements);
  for (std::int64_t index = samples.begin; index < samples.end; ++index) batch.sample_index.push_back(index);
  return batch;
}

// Row s from its T + 1 tokens. starts: where a document begins within the row, increasing; 0 need not be there.
void fill_row(Batch& batch, std::int64_t s, std::span<const std::int32_t> tokens,
              std::span<const std::int64_t> starts) {
  const std::int64_t length = batch.sequence_length;
  const std::int64_t row = s * length;
  std::copy_n(tokens.begin(), length, batch.tokens.begin() + row);
  std::copy_n(tokens.begin() + 1, length, batch.targets.begin() + row);
  std::int64_t begin = 0;
  auto next = starts.begin();
  for (std::int64_t t = 0; t < length; ++t) {
    while (next != starts.end() && *next <= t) begin = *next++;
    batch.key_begin[static_cast<std::size_t>(row + t)] = static_cast<std::int32_t>(begin);
    batch.positions[static_cast<std::size_t>(row + t)] = static_cast<std::int32_t>(t - begin);
  }
}

// Appends where documents begin in a row whose element `at` is the stream's token `begin`, for elements [at, at +
// count): a document begins with the end-of-document token before it.
void append_starts(std::vector<std::int64_t>& starts, const TokenStream& stream, std::uint64_t begin, std::int64_t at,
                   std::int64_t count) {
  for (const std::uint64_t end : stream.document_ends(begin, begin + static_cast<std::uint64_t>(count)))
    starts.push_back(at + static_cast<std::int64_t>(end - 1 - begin));
}

}  // namespace

std::int64_t Batch::unmasked_tokens() const {
  return std::count_if(loss_mask.begin(), loss_mask.end(), [](float weight) { return weight != 0.0f; });
}

TrainingBatches::TrainingBatches(const TokenStream& stream, std::int64_t sequence_length, std::uint64_t seed,
                                 AttentionScope scope)
    : stream_(stream),
      sequence_length_(sequence_length),
      scope_(scope),
      order_(stream.tokens(), sequence_length, seed) {}

Batch TrainingBatches::build(SampleRange samples) const {
  Batch batch = empty_batch(samples, sequence_length_);
  const auto needed = static_cast<std::uint64_t>(sequence_length_) + 1;
  std::vector<std::int32_t> tokens(needed);
  std::vector<std::int64_t> starts;
  for (std::int64_t s = 0; s < batch.samples; ++s) {
    const std::uint64_t begin = order_.sample(samples.begin + s).begin;
    const std::uint64_t first = std::min(needed, stream_.tokens() - begin);  // the rest lies at the stream's beginning
    stream_.read(begin, std::span(tokens).first(first));
    stream_.read(0, std::span(tokens).subspan(first));
    starts.clear();
    if (scope_ == AttentionScope::kDocument) {
      append_starts(starts, stream_, begin, 0, static_cast<std::int64_t>(first));
      append_starts(starts, stream_, 0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(needed - first));
    }
    fill_row(batch, s, tokens, starts);
  }
  return batch;
}

ValidationBatches::ValidationBatches(const TokenStream& stream, std::int64_t sequence_length,
                                     std::int32_t end_of_document, AttentionScope scope)
    : stream_(stream), sequence_length_(sequence_length), end_of_document_(end_of_document), scope_(scope) {
  CHECK(sequence_length >= 1, sequence_length);
}

std::int64_t ValidationBatches::windows() const {
  return (static_cast<std::int64_t>(stream_.tokens()) + sequence_length_ - 1) / sequence_length_;
}

Batch ValidationBatches::build(SampleRange windows_asked) const {
  CHECK(windows_asked.end <= windows(), windows_asked.end, " of ", windows());
  Batch batch = empty_batch(windows_asked, sequence_length_);
  std::vector<std::int32_t> row(static_cast<std::size_t>(sequence_length_) + 1);
  std::vector<std::int64_t> starts;
  for (std::int64_t s = 0; s < batch.samples; ++s) {
    // Element t of the row is token `begin - 1 + t`; token -1 is the end-of-document token that opens the first
    // document.
    const std::uint64_t begin =
        static_cast<std::uint64_t>(windows_asked.begin + s) * static_cast<std::uint64_t>(sequence_length_);
    const auto targets = static_cast<std::int64_t>(
        std::min<std::uint64_t>(stream_.tokens() - begin, static_cast<std::uint64_t>(sequence_length_)));
    std::fill(row.begin(), row.end(), end_of_document_);
    stream_.read(begin, std::span(row).subspan(1, static_cast<std::size_t>(targets)));
    if (begin > 0) stream_.read(begin - 1, std::span(row).first(1));

    starts.clear();
    if (scope_ == AttentionScope::kDocument) {
      if (begin > 0) append_starts(starts, stream_, begin - 1, 0, 1);
      append_starts(starts, stream_, begin, 1, targets);
    }
    if (targets < sequence_length_ && (starts.empty() || starts.back() < targets)) starts.push_back(targets);
    fill_row(batch, s, row, starts);
    std::fill(batch.loss_mask.begin() + s * sequence_length_ + targets,
              batch.loss_mask.begin() + (s + 1) * sequence_length_, 0.0f);
  }
  return batch;
}

}  // namespace trireme
