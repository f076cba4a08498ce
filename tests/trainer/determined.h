// How far may a model in fp32 or bf16 be from the exact one? As far as the exact one moves when each of its operations
// is off by a unit roundoff: no bound on sums of |terms| alone is both safe and sharp over many layers, since it
// forgets that the same rounding reaches a gradient by many ways.
//
// So the oracle runs kRuns times with random roundings, and `spread` is the largest deviation seen; a result made of N
// independent roundings is off by a normal error of about that size. kAllowed = 8 times it, for each element (12
// deviations or so, which leaves room for another order of sums, for the host's exp, and for elements that were lucky
// kRuns times), and 2 times it for a tensor's root mean square, where luck is averaged out.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/trainer/oracle/decoder.h"

namespace trireme {

inline constexpr int kRuns = 8;
inline constexpr double kAllowed = 8;
inline constexpr double kAllowedRms = 2;

struct Determined {
  std::vector<double> value;
  std::vector<double> spread;

  void set(const std::vector<double>& exact) {
    value = exact;
    spread.assign(exact.size(), 0);
  }
  void widen(const std::vector<double>& rounded) {
    for (std::size_t i = 0; i < value.size(); ++i) spread[i] = std::max(spread[i], std::abs(rounded[i] - value[i]));
  }
};

inline double root_mean_square(const std::vector<double>& x) {
  double sum = 0;
  for (const double one : x) sum += one * one;
  return x.empty() ? 0 : std::sqrt(sum / static_cast<double>(x.size()));
}

// One failure a tensor, of its worst element.
inline void expect_determined(const std::string& name, const std::vector<double>& got, const Determined& want) {
  ASSERT_EQ(got.size(), want.value.size()) << name;
  std::vector<double> off;
  std::size_t worst = 0;
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    off.push_back(got[i] - want.value[i]);
    const double ratio = off[i] == 0 ? 0 : std::abs(off[i]) / want.spread[i];
    if (!(ratio <= most)) {
      most = ratio;
      worst = i;
    }
  }
  EXPECT_LE(most, kAllowed) << name << "[" << worst << "] is " << got[worst] << ", not " << want.value[worst]
                            << ", which roundings move by " << want.spread[worst];
  EXPECT_LE(root_mean_square(off), kAllowedRms * root_mean_square(want.spread)) << name;
}

}  // namespace trireme
