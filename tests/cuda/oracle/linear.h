// The linears' oracles.
#pragma once

#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

// y = x w^T + bias + residual. x [R, I], w [O, I]; bias [O] and residual [R, O] empty if there is none.
inline Result linear_forward(const Values& x, const Values& w, const Values& bias, const Values& residual,
                             std::size_t rows, std::size_t outputs) {
  const std::size_t inputs = w.size() / outputs;
  Result y(rows * outputs);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t o = 0; o < outputs; ++o) {
      for (std::size_t i = 0; i < inputs; ++i) y.add(r * outputs + o, x[r * inputs + i] * w[o * inputs + i]);
      if (!bias.empty()) y.add(r * outputs + o, bias[o]);
      if (!residual.empty()) y.add(r * outputs + o, residual[r * outputs + o]);
    }
  return y;
}

// dx = dy w, + before (empty: overwritten). dy [R, O].
inline Result linear_backward_input(const Values& before, const Values& dy, const Values& w, std::size_t rows,
                                    std::size_t outputs) {
  const std::size_t inputs = w.size() / outputs;
  Result dx(rows * inputs);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t i = 0; i < inputs; ++i) {
      for (std::size_t o = 0; o < outputs; ++o) dx.add(r * inputs + i, dy[r * outputs + o] * w[o * inputs + i]);
      if (!before.empty()) dx.add(r * inputs + i, before[r * inputs + i]);
    }
  return dx;
}

struct LinearWeights {
  Result dw, dbias;
};

// dw [O, I], dbias [O]: what they held.
inline LinearWeights linear_backward_weight(const Values& dw, const Values& dbias, const Values& dy, const Values& x,
                                            std::size_t rows, std::size_t outputs) {
  const std::size_t inputs = dw.size() / outputs;
  LinearWeights out{Result(dw.size()), Result(dbias.size())};
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t i = 0; i < inputs; ++i) {
      for (std::size_t r = 0; r < rows; ++r) out.dw.add(o * inputs + i, dy[r * outputs + o] * x[r * inputs + i]);
      out.dw.add(o * inputs + i, dw[o * inputs + i]);
    }
    for (std::size_t r = 0; r < rows && !dbias.empty(); ++r) out.dbias.add(o, dy[r * outputs + o]);
    if (!dbias.empty()) out.dbias.add(o, dbias[o]);
  }
  return out;
}

// y = sum + bias + residual; bias [O], residual empty if there is none.
inline Result linear_finish(const Values& sum, const Values& bias, const Values& residual) {
  Result y(sum.size());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    y.add(i, sum[i]);
    if (!bias.empty()) y.add(i, bias[i % bias.size()]);
    if (!residual.empty()) y.add(i, residual[i]);
  }
  return y;
}

}  // namespace trireme::oracle
