// Which rank trains on which samples in which step? Promise 1 says that this may not change what is learned: a step
// takes the next global_batch samples in order, whatever the ranks, and each data-parallel rank takes one run of them.
//
// Pure. Steps count from 0. The cursor of a run is cursor(step): one integer, equal on all ranks.
#pragma once

#include <algorithm>
#include <cstdint>

namespace trireme {

struct SampleRange {  // global indices [begin, end)
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const SampleRange&) const = default;
};

// Part `part` of `parts` nearly equal, contiguous parts of a range; their sizes differ by at most 1.
inline SampleRange part_of(SampleRange range, std::int64_t part, std::int64_t parts) {
  return {range.begin + range.size() * part / parts, range.begin + range.size() * (part + 1) / parts};
}

struct BatchPlan {
  std::int64_t global_batch = 1;  // samples of a step
  std::int64_t micro_batch = 1;   // samples at once; the last of a rank's step may be smaller, or of no samples
  std::int64_t dp = 1;            // data-parallel ranks, at most global_batch
  std::int64_t rank = 0;          // this one's coordinate, below dp

  // The first sample that `step` steps have not taken.
  std::int64_t cursor(std::int64_t step) const { return step * global_batch; }
  // All ranks' samples of a step, this rank's, and those of its micro-batch m.
  SampleRange step_range(std::int64_t step) const { return {cursor(step), cursor(step + 1)}; }
  SampleRange rank_range(std::int64_t step) const { return part_of(step_range(step), rank, dp); }
  SampleRange micro_range(std::int64_t step, std::int64_t m) const {
    const SampleRange mine = rank_range(step);
    return {std::min(mine.end, mine.begin + m * micro_batch), std::min(mine.end, mine.begin + (m + 1) * micro_batch)};
  }
  // In a step: the same in every step and on all ranks, which meet in each of them.
  std::int64_t micro_batches() const {
    const std::int64_t most = (global_batch + dp - 1) / dp;
    return (most + micro_batch - 1) / micro_batch;
  }
};

}  // namespace trireme
