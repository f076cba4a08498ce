// The norms' oracles. Backward passes take mean and rstd as they are given, as the ops do.
#pragma once

#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

struct NormForward {
  Result y, mean, rstd;
};

// x [R, C]; w, b [C].
inline NormForward layernorm_forward(const Values& x, const Values& w, const Values& b, double epsilon) {
  const std::size_t columns = w.size(), rows = columns ? x.size() / columns : 0;
  NormForward out{Result(x.size()), Result(rows), Result(rows)};
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) out.mean.add(r, x[r * columns + c] / static_cast<double>(columns));
    const double mean = out.mean.value[r];
    double variance = 0;
    for (std::size_t c = 0; c < columns; ++c) variance += std::pow(x[r * columns + c] - mean, 2);
    const double rstd = 1 / std::sqrt(variance / static_cast<double>(columns) + epsilon);
    out.rstd.add(r, rstd);
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      out.y.add(at, (x[at] - mean) * rstd * w[c], (std::abs(x[at]) + out.mean.terms[r]) * rstd * std::abs(w[c]));
      out.y.add(at, b[c]);
    }
  }
  return out;
}

// dresidual: empty if there is none.
inline Result layernorm_backward_input(const Values& dy, const Values& dresidual, const Values& x, const Values& mean,
                                       const Values& rstd, const Values& w) {
  const std::size_t columns = w.size();
  Result dx(x.size());
  for (std::size_t r = 0; r < rstd.size(); ++r) {
    Result mean_g(1), mean_gx(1);
    const auto xhat = [&](std::size_t c) { return (x[r * columns + c] - mean[r]) * rstd[r]; };
    const auto xhat_terms = [&](std::size_t c) { return (std::abs(x[r * columns + c]) + std::abs(mean[r])) * rstd[r]; };
    for (std::size_t c = 0; c < columns; ++c) {
      const double g = dy[r * columns + c] * w[c] / static_cast<double>(columns);
      mean_g.add(0, g);
      mean_gx.add(0, g * xhat(c), std::abs(g) * xhat_terms(c));
    }
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      dx.add(at, rstd[r] * dy[at] * w[c]);
      dx.add(at, -rstd[r] * mean_g.value[0], rstd[r] * mean_g.terms[0]);
      dx.add(at, -rstd[r] * xhat(c) * mean_gx.value[0], rstd[r] * xhat_terms(c) * mean_gx.terms[0]);
      if (!dresidual.empty()) dx.add(at, dresidual[at]);
    }
  }
  return dx;
}

struct NormWeights {
  Result dw, db;
};

// dw, db: what they held.
inline NormWeights layernorm_backward_weight(const Values& dw, const Values& db, const Values& dy, const Values& x,
                                             const Values& mean, const Values& rstd) {
  const std::size_t columns = dw.size();
  NormWeights out{Result(columns), Result(columns)};
  for (std::size_t c = 0; c < columns; ++c) {
    out.dw.add(c, dw[c]);
    out.db.add(c, db[c]);
    for (std::size_t r = 0; r < rstd.size(); ++r) {
      const std::size_t at = r * columns + c;
      out.dw.add(c, dy[at] * (x[at] - mean[r]) * rstd[r],
                 std::abs(dy[at]) * (std::abs(x[at]) + std::abs(mean[r])) * rstd[r]);
      out.db.add(c, dy[at]);
    }
  }
  return out;
}

inline NormForward rmsnorm_forward(const Values& x, const Values& w, double epsilon) {
  const std::size_t columns = w.size(), rows = columns ? x.size() / columns : 0;
  NormForward out{Result(x.size()), {}, Result(rows)};
  for (std::size_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (std::size_t c = 0; c < columns; ++c) squares += x[r * columns + c] * x[r * columns + c];
    out.rstd.add(r, 1 / std::sqrt(squares / static_cast<double>(columns) + epsilon));
    for (std::size_t c = 0; c < columns; ++c) out.y.add(r * columns + c, x[r * columns + c] * out.rstd.value[r] * w[c]);
  }
  return out;
}

inline Result rmsnorm_backward_input(const Values& dy, const Values& dresidual, const Values& x, const Values& rstd,
                                     const Values& w) {
  const std::size_t columns = w.size();
  Result dx(x.size());
  for (std::size_t r = 0; r < rstd.size(); ++r) {
    Result mean_gx(1);
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      mean_gx.add(0, dy[at] * w[c] * x[at] * rstd[r] / static_cast<double>(columns));
    }
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = r * columns + c;
      const double xhat = x[at] * rstd[r];
      dx.add(at, rstd[r] * dy[at] * w[c]);
      dx.add(at, -rstd[r] * xhat * mean_gx.value[0], rstd[r] * std::abs(xhat) * mean_gx.terms[0]);
      if (!dresidual.empty()) dx.add(at, dresidual[at]);
    }
  }
  return dx;
}

inline Result rmsnorm_backward_weight(const Values& before, const Values& dy, const Values& x, const Values& rstd) {
  const std::size_t columns = before.size();
  Result dw(columns);
  for (std::size_t c = 0; c < columns; ++c) {
    dw.add(c, before[c]);
    for (std::size_t r = 0; r < rstd.size(); ++r) dw.add(c, dy[r * columns + c] * x[r * columns + c] * rstd[r]);
  }
  return dw;
}

}  // namespace trireme::oracle
