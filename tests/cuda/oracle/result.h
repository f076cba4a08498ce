// The oracles say what an op must compute, as slowly and as plainly as its equation in cuda/ops/kernels.h: fp64, one
// loop an index, no code shared with any back end. Beside each value stands the sum of the magnitudes of the terms that
// it is made of, because that, and never the value, is what rounding errors of fp32 scale with: some sums are zero.
//
// Header-only and libstdc++ only, so that a machine with nothing but a compiler and a GPU can check its kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace trireme::oracle {

using Values = std::vector<double>;

struct Result {
  Values value;
  Values terms;  // sum of |terms|; an op of fp32 is off by at most c 2^-24 terms, c stated beside each case

  Result() = default;
  explicit Result(std::size_t size) : value(size), terms(size) {}
  void add(std::size_t at, double term) { add(at, term, std::abs(term)); }
  void add(std::size_t at, double term, double magnitude) {
    value[at] += term;
    terms[at] += magnitude;
  }
};

// A floating-point format: `digits` bits of significand (the hidden one too), `lowest` the exponent of its smallest
// normal.
struct Format {
  int digits;
  int lowest;
  double largest;
};
constexpr Format kF32{24, -126, 0x1.fffffep127};
constexpr Format kBF16{8, -126, 0x1.fep127};
constexpr Format kF16{11, -14, 65504};

// x rounded to nearest, ties to even, subnormals kept, beyond the largest to infinity (IEEE 754, 4.3.1).
inline double round_to(const Format& format, double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent;
  std::frexp(x, &exponent);  // |x| in [2^(exponent-1), 2^exponent)
  const int unit = std::max(exponent - 1, format.lowest) - (format.digits - 1);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  return std::abs(rounded) > format.largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}

}  // namespace trireme::oracle
