// The order of sums that every communicator promises, written apart from theirs: split so that the left side is the
// largest power of two below n, and add what both sides give.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace trireme {

// values[r] is rank r's.
inline float tree_sum(const float* values, std::size_t count) {
  if (count == 1) return values[0];
  std::size_t left = 1;
  while (left * 2 < count) left *= 2;
  return tree_sum(values, left) + tree_sum(values + left, count - left);
}

// Numbers of very different sizes, so that another order of sums gives other bits.
inline std::vector<float> uneven_values(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const auto mantissa = static_cast<double>(static_cast<std::int64_t>(generator() >> 11)) / 9007199254740992.0 - 0.5;
    value = static_cast<float>(mantissa * static_cast<double>(1u << (generator() % 20)));
  }
  return values;
}

// Element i of the sum over `ranks` of uneven_values(count, seed + rank).
inline std::vector<float> summed_values(std::size_t count, std::uint64_t seed, int ranks) {
  std::vector<std::vector<float>> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(uneven_values(count, seed + static_cast<std::uint64_t>(rank)));
  std::vector<float> sum(count);
  std::vector<float> column(static_cast<std::size_t>(ranks));
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t rank = 0; rank < column.size(); ++rank) column[rank] = all[rank][i];
    sum[i] = tree_sum(column.data(), column.size());
  }
  return sum;
}

}  // namespace trireme
