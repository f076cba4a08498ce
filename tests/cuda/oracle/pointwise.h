// Oracles of GELU, SwiGLU, rotary positions and dropout. A function of x has a condition: terms hold |x f'(x)| beside
// |f|, since x itself is rounded on its way through the function.
#pragma once

#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

inline constexpr double kPi = 3.14159265358979323846;

inline Result gelu_forward(const Values& x) {
  Result y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y.add(i, x[i] / 2);
    y.add(i, x[i] / 2 * std::tanh(std::sqrt(2 / kPi) * (x[i] + 0.044715 * std::pow(x[i], 3))));
  }
  return y;
}

inline Result gelu_backward(const Values& dy, const Values& x) {
  Result dx(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double z = std::sqrt(2 / kPi) * (x[i] + 0.044715 * std::pow(x[i], 3));
    const double dz = std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x[i] * x[i]);
    // 1 - tanh^2 is at most 1 and its error is absolute, but it is 0 wherever dz is large; 1 + |z| bounds what is left.
    const double sech2 = 1 - std::tanh(z) * std::tanh(z);
    dx.add(i, dy[i] / 2);
    dx.add(i, dy[i] / 2 * std::tanh(z), std::abs(dy[i]) / 2);
    dx.add(i, dy[i] * x[i] / 2 * sech2 * dz, std::abs(dy[i] * x[i] / 2 * dz) * (sech2 * (1 + std::abs(z)) + 0x1p-3));
  }
  return dx;
}

// A sigmoid below the smallest normal fp32, 2^-126, may be flushed to 0: kFlushed 2^-24 of what it multiplies.
inline constexpr double kFlushed = 0x1p-102;
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// x [R, 2, F] -> [R, F]
inline Result swiglu_forward(const Values& x, std::size_t features) {
  Result y(x.size() / 2);
  for (std::size_t i = 0; i < y.value.size(); ++i) {
    const std::size_t at = i / features * 2 * features + i % features;
    const double gate = x[at], up = x[at + features], term = gate * sigmoid(gate) * up;
    y.add(i, term, std::abs(gate * up) * (sigmoid(gate) * (1 + std::abs(gate)) + kFlushed));
  }
  return y;
}

inline Result swiglu_backward(const Values& dy, const Values& x, std::size_t features) {
  Result dx(x.size());
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const std::size_t at = i / features * 2 * features + i % features;
    const double gate = x[at], up = x[at + features], s = sigmoid(gate);
    const double error = s * (1 + std::abs(gate)) + kFlushed;  // of s, by its condition; absolute of 1 - s
    dx.add(at, dy[i] * up * s, std::abs(dy[i] * up) * error);
    dx.add(at, dy[i] * up * gate * s * sigmoid(-gate), std::abs(dy[i] * up * gate) * error);
    dx.add(at + features, dy[i] * gate * s, std::abs(dy[i] * gate) * error);
  }
  return dx;
}

// x [R, S, H, D]; sizes = {S, H, D}.
inline Result rope(const Values& x, const Values& positions, const std::size_t (&sizes)[3], double theta, int sign) {
  const auto [streams, heads, size] = sizes;
  Result y(x.size());
  y.value = x;  // what is not turned stays, exactly
  for (std::size_t r = 0; r < positions.size(); ++r)
    for (std::size_t h = 0; h < heads; ++h)
      for (std::size_t d = 0; d < size / 2; ++d) {
        const std::size_t low = (r * streams * heads + h) * size + d, high = low + size / 2;
        const double angle =
            sign * positions[r] * std::pow(theta, -2.0 * static_cast<double>(d) / static_cast<double>(size));
        y.value[low] = x[low] * std::cos(angle) - x[high] * std::sin(angle);
        y.value[high] = x[high] * std::cos(angle) + x[low] * std::sin(angle);
        // The error of a sine is absolute.
        y.terms[low] = y.terms[high] = std::abs(x[low]) + std::abs(x[high]);
      }
  return y;
}

}  // namespace trireme::oracle
