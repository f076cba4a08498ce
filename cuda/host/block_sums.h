// A sum must not depend on who holds which part. Numbers are summed over fixed blocks of 1024 elements of their tensor,
// and the blocks' sums in a binary tree, so that a rank with other blocks, or more threads, adds the same pairs.
// Internal to cuda/host.
#pragma once

#include <cstddef>
#include <cstdint>

namespace trireme::host {

inline constexpr std::int64_t kSumBlock = 1024;  // elements
constexpr std::int64_t sum_blocks(std::int64_t elements) { return (elements + kSumBlock - 1) / kSumBlock; }

// (s0 + s1) + (s2 + s3) ..., an odd one out joining at the next level. 0 for n = 0.
inline float tree_sum(const float* sums, std::size_t n) {
  if (n == 0) return 0;
  if (n == 1) return sums[0];
  std::size_t left = 1;
  while (2 * left < n) left *= 2;
  return tree_sum(sums, left) + tree_sum(sums + left, n - left);
}

}  // namespace trireme::host
