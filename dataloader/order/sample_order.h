// Which tokens is global sample number i? A pure function of (tokens in the split, sequence length, seed, i): nothing
// is stored, so that the cursor of a run is one integer and any number of ranks can go on from it.
//
// An epoch cuts the stream, taken as a ring, into W = floor(tokens / sequence_length) windows from a random origin, and
// visits them in a random order; origin and order have keys of their own for each (seed, epoch). So within an epoch no
// token is a target twice, the tokens mod sequence_length that are left over lie elsewhere in each epoch, and each
// epoch cuts documents in other places. Sample i is window permutation(i mod W) of epoch i / W.
#pragma once

#include <cstdint>

namespace trireme {

struct Sample {
  std::int64_t epoch = 0;
  std::int64_t window = 0;
  std::uint64_t begin = 0;  // of its sequence_length + 1 tokens in the stream, which goes on at 0 after its end
  bool operator==(const Sample&) const = default;
};

class SampleOrder {
 public:
  // Throws UserError unless tokens > sequence_length >= 1.
  SampleOrder(std::uint64_t tokens, std::int64_t sequence_length, std::uint64_t seed);

  std::int64_t samples_per_epoch() const { return static_cast<std::int64_t>(windows_); }
  Sample sample(std::int64_t global_index) const;  // global_index >= 0

 private:
  std::uint64_t tokens_;
  std::uint64_t sequence_length_;
  std::uint64_t seed_;
  std::uint64_t windows_;
};

}  // namespace trireme
