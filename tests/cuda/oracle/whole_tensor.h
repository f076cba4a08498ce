// Oracles of the ops on whole tensors and of the optimizer. fp32 values that the contract fixes to the bit (sum_tree)
// are rounded after each addition.
#pragma once

#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

// (p0 + p1) + (p2 + p3) ..., level by level, an odd one out carried up; each sum rounded to fp32.
inline Values sum_tree(std::vector<Values> level) {
  while (level.size() > 1) {
    std::vector<Values> next;
    for (std::size_t i = 0; i < level.size(); i += 2) {
      Values pair = level[i];
      if (i + 1 < level.size())
        for (std::size_t at = 0; at < pair.size(); ++at) pair[at] = round_to(kF32, pair[at] + level[i + 1][at]);
      next.push_back(std::move(pair));
    }
    level = std::move(next);
  }
  return level[0];
}

inline Result add_sum(double before, const Values& x) {
  Result total(1);
  total.add(0, before);
  for (double one : x) total.add(0, one);
  return total;
}

// Sums of squares over blocks of 1024 elements of each tensor.
inline Result square_sums(const std::vector<Values>& tensors) {
  Result sums;
  for (const Values& x : tensors)
    for (std::size_t at = 0; at < x.size(); ++at) {
      if (at % 1024 == 0) {
        sums.value.push_back(0);
        sums.terms.push_back(0);
      }
      sums.add(sums.value.size() - 1, x[at] * x[at]);
    }
  return sums;
}

struct ScaleMoves {
  double growth = 1, backoff = 1, least = 0, interval = 2000;
};
struct Decision {
  Result norm, clip, factor;
  double skip, applied, scale, good;
};
inline Decision decide_step(const Values& sums, double limit, double applied, double scale, double good,
                            const ScaleMoves& moves) {
  double squares = 0;
  for (double one : sums) squares += one;
  Decision decision{Result(1), Result(1), Result(1), 0, applied, scale, good + 1};
  decision.norm.add(0, std::sqrt(squares) / scale);
  const double norm = decision.norm.value[0];
  decision.clip.add(0, norm > limit && limit > 0 ? limit / norm : 1);
  decision.factor.add(0, decision.clip.value[0] / scale);
  decision.skip = !std::isfinite(round_to(kF32, norm));
  decision.applied += 1 - decision.skip;
  const double grown = round_to(kF32, scale * moves.growth);
  const bool grows = decision.skip == 0 && decision.good >= moves.interval;
  if (decision.skip != 0) decision.scale = std::max(round_to(kF32, scale * moves.backoff), moves.least);
  if (grows && std::isfinite(grown)) decision.scale = grown;
  if (grows || decision.skip != 0) decision.good = 0;
  return decision;
}

struct AdamWSettings {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
};
struct AdamWUpdate {
  Result master, m, v;
};
inline AdamWUpdate adamw(const Values& master, const Values& m, const Values& v, const Values& gradient,
                         const AdamWSettings& s, double factor, double updates) {
  AdamWUpdate out{Result(master.size()), Result(master.size()), Result(master.size())};
  const double correction1 = 1 - std::pow(s.beta1, updates), correction2 = 1 - std::pow(s.beta2, updates);
  for (std::size_t i = 0; i < master.size(); ++i) {
    const double g = factor * gradient[i];
    out.m.add(i, s.beta1 * m[i]);
    out.m.add(i, (1 - s.beta1) * g);
    out.v.add(i, s.beta2 * v[i]);
    out.v.add(i, (1 - s.beta2) * g * g);
    const double root = std::sqrt(out.v.value[i] / correction2) + s.epsilon;
    out.master.add(i, master[i]);
    out.master.add(i, -s.learning_rate * out.m.value[i] / correction1 / root,
                   s.learning_rate * out.m.terms[i] / correction1 / root);
    out.master.add(i, -s.learning_rate * s.weight_decay * master[i]);
  }
  return out;
}

}  // namespace trireme::oracle
