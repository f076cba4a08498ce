#include "dataloader/order/sample_order.h"

#include <fmt/format.h>

#include "dataloader/order/permutation.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

SampleOrder::SampleOrder(std::uint64_t tokens, std::int64_t sequence_length, std::uint64_t seed)
    : tokens_(tokens), sequence_length_(static_cast<std::uint64_t>(sequence_length)), seed_(seed) {
  CHECK(sequence_length >= 1, sequence_length);
  if (tokens <= sequence_length_)
    throw UserError(
        fmt::format("the training split has {} tokens, and one sample needs {} (model.sequence_length + 1). "
                    "Prepare more text, or shorten model.sequence_length.",
                    tokens, sequence_length_ + 1));
  windows_ = tokens / sequence_length_;
}

Sample SampleOrder::sample(std::int64_t global_index) const {
  CHECK(global_index >= 0, global_index);
  const std::uint64_t epoch = static_cast<std::uint64_t>(global_index) / windows_;
  const std::uint64_t place = static_cast<std::uint64_t>(global_index) % windows_;
  const std::uint64_t window = Permutation(windows_, derive_key(seed_, "order", epoch))(place);
  // 64 random bits reduced to the ring: off uniform by less than tokens / 2^64.
  const std::uint64_t origin = derive_key(seed_, "origin", epoch) % tokens_;
  return {.epoch = static_cast<std::int64_t>(epoch),
          .window = static_cast<std::int64_t>(window),
          .begin = (origin + window * sequence_length_) % tokens_};
}

}  // namespace trireme
