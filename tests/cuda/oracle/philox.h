// Philox4x32-10 written from the paper's figures, apart from cuda/core/philox.h: one round is a multiplication on each
// half and a permutation; J. Salmon et al., SC 2011, section 3.3. Then what is drawn from it: dropout and normal
// numbers.
#pragma once

#include <array>

#include "tests/cuda/oracle/pointwise.h"
#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    if (round > 0) {
      key[0] += 0x9E3779B9;  // the golden ratio
      key[1] += 0xBB67AE85;  // sqrt(3) - 1
    }
    const auto left = static_cast<unsigned __int128>(counter[0]) * 0xD2511F53;
    const auto right = static_cast<unsigned __int128>(counter[2]) * 0xCD9E8D57;
    counter = {static_cast<std::uint32_t>(right >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(right),
               static_cast<std::uint32_t>(left >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(left)};
  }
  return counter;
}
inline std::array<std::uint32_t, 2> halves(std::uint64_t x) {
  return {static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x >> 32)};
}

// y = drop(x) + residual (empty if none), x [R, C].
inline Result dropout(const Values& x, const Values& residual, float probability, std::uint64_t key,
                      const Values& sample, const Values& offset, std::size_t columns) {
  Result y(x.size());
  const double threshold = std::floor(static_cast<double>(probability) * 4294967296.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t r = i / columns, c = i % columns;
    bool kept = true;
    if (probability > 0) {
      const auto id = halves(static_cast<std::uint64_t>(sample[r]));
      const auto block =
          philox({id[0], id[1], static_cast<std::uint32_t>(offset[r]), static_cast<std::uint32_t>(c / 4)}, halves(key));
      kept = static_cast<double>(block[c % 4]) >= threshold;
    }
    if (kept) y.add(i, x[i] / (1.0 - static_cast<double>(probability)));
    if (!residual.empty()) y.add(i, residual[i]);
  }
  return y;
}

// Element e of a tensor of normal numbers: lanes a, b = 2j, 2j + 1 of block e / 4 make a pair by Box-Muller,
// sqrt(-2 ln u) (cos, sin)(2 pi v) with u = (a + 1) / 2^32, v = b / 2^32.
inline double normal(std::uint64_t element, std::uint64_t key) {
  const auto block = philox({halves(element / 4)[0], halves(element / 4)[1], 0, 0}, halves(key));
  const std::size_t pair = element % 4 / 2 * 2;
  const double u = (static_cast<double>(block[pair]) + 1) / 4294967296.0;
  const double v = static_cast<double>(block[pair + 1]) / 4294967296.0;
  return std::sqrt(-2 * std::log(u)) * (element % 2 == 0 ? std::cos(2 * kPi * v) : std::sin(2 * kPi * v));
}

}  // namespace trireme::oracle
