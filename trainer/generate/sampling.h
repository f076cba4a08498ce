// Which token comes next, given its logits: a pure function of them, the options and the position, so that a text can
// be made again.
#pragma once

#include <cstdint>
#include <span>

namespace trireme {

struct SamplingOptions {
  double temperature = 1;  // 0: always the likeliest (the lowest id of equals)
  int top_k = 0;           // of the likeliest so many; 0: of all
  double top_p = 1;  // of the fewest likeliest whose probabilities reach this sum. A. Holtzman et al., arXiv:1904.09751
  std::uint64_t seed = 0;
};

// Throws UserError for options that make no sense.
void check_sampling(const SamplingOptions& options);

// logits [vocabulary]; `position` counts the text's tokens. Top-k is taken first, then top-p of what is left.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, std::int64_t position);

}  // namespace trireme
