// Cross-entropy's oracles. Terms count what rounding of an exponent does to an exponential: its relative error is the
// absolute error of the exponent.
#pragma once

#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

struct CrossEntropyOptions {
  std::int64_t first_column, valid_columns, vocabulary;
  double label_smoothing, z_loss;

  // The target's column, or -1 if it lies elsewhere.
  std::int64_t column(double target) const {
    const std::int64_t at = static_cast<std::int64_t>(target) - first_column;
    return 0 <= at && at < valid_columns ? at : -1;
  }
};

// [R, 4]: max, sum of exp(l - max), l_target, sum of l.
inline Result cross_entropy_statistics(const Values& logits, const Values& targets,
                                       const CrossEntropyOptions& options) {
  const std::size_t rows = targets.size(), columns = rows ? logits.size() / rows : 0;
  Result out(4 * rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const double* l = logits.data() + r * columns;
    double most = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < options.valid_columns; ++j) most = std::max(most, l[j]);
    out.value[4 * r] = most;
    for (std::int64_t j = 0; j < options.valid_columns; ++j) {
      const double term = std::exp(l[j] - most);
      out.add(4 * r + 1, term, term == 0 ? 0 : term * (1 + std::abs(l[j] - most)));
      out.add(4 * r + 3, l[j]);
    }
    if (const auto at = options.column(targets[r]); at >= 0) out.value[4 * r + 2] = l[at];
  }
  return out;
}

// parts [n, R, 4].
inline Result cross_entropy_merge(const Values& parts, std::size_t n) {
  const std::size_t size = parts.size() / n;
  Result out(size);
  for (std::size_t at = 0; at < size; at += 4) {
    double most = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < n; ++i) most = std::max(most, parts[i * size + at]);
    out.value[at] = most;
    for (std::size_t i = 0; i < n; ++i) {
      const double* part = parts.data() + i * size + at;
      if (part[1] > 0)
        out.add(at + 1, part[1] * std::exp(part[0] - most), part[1] * std::exp(part[0] - most) * (1 + most - part[0]));
      out.add(at + 2, part[2]);
      out.add(at + 3, part[3]);
    }
  }
  return out;
}

// Statistics as they are given.
inline Result cross_entropy_loss(const Values& statistics, const Values& weights, const CrossEntropyOptions& options) {
  Result loss(weights.size());
  for (std::size_t r = 0; r < weights.size(); ++r) {
    if (weights[r] == 0) continue;
    const double* s = statistics.data() + 4 * r;
    const double lse = s[0] + std::log(s[1]);
    const double lse_terms = 1 + std::abs(s[0]) + std::abs(std::log(s[1]));
    const double e = options.label_smoothing, w = weights[r];
    const double mean = s[3] / static_cast<double>(options.vocabulary);
    loss.add(r, w * (1 - e) * (lse - s[2]), std::abs(w) * (1 - e) * (lse_terms + std::abs(s[2])));
    loss.add(r, w * e * (lse - mean), std::abs(w) * e * (lse_terms + std::abs(mean)));
    loss.add(r, w * options.z_loss * lse * lse, std::abs(w) * options.z_loss * lse_terms * lse_terms);
  }
  return loss;
}

inline Result cross_entropy_backward(const Values& logits, const Values& statistics, const Values& targets,
                                     const Values& weights, double scale, const CrossEntropyOptions& options) {
  const std::size_t rows = targets.size(), columns = rows ? logits.size() / rows : 0;
  Result out(logits.size());
  for (std::size_t r = 0; r < rows; ++r) {
    if (weights[r] == 0) continue;
    const double* s = statistics.data() + 4 * r;
    const double lse = s[0] + std::log(s[1]);
    const double lse_terms = 1 + std::abs(s[0]) + std::abs(std::log(s[1]));
    const double w = weights[r] * scale;
    const std::int64_t target = options.column(targets[r]);
    for (std::int64_t j = 0; j < options.valid_columns; ++j) {
      const std::size_t at = r * columns + static_cast<std::size_t>(j);
      const double p = std::exp(logits[at] - lse);
      out.add(at, w * p * (1 + 2 * options.z_loss * lse),
              std::abs(w) * p * (1 + 2 * options.z_loss * lse_terms) * (1 + std::abs(logits[at] - s[0])));
      if (j == target) out.add(at, -w * (1 - options.label_smoothing));
      out.add(at, -w * options.label_smoothing / static_cast<double>(options.vocabulary));
    }
  }
  return out;
}

}  // namespace trireme::oracle
