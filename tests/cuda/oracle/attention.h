// Attention's oracles. Terms bound what fp32 can lose: the exponent s - lse is off by rounding of sum|scale q k| and of
// its own size, and the relative error of p is the absolute error of its exponent.
#pragma once

#include "tests/cuda/oracle/philox.h"
#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

struct AttentionShape {
  std::size_t rows, keys, heads, kv_heads, head_size;
  std::size_t q(std::size_t row, std::size_t head, std::size_t d) const { return (row * heads + head) * head_size + d; }
  std::size_t k(std::size_t key, std::size_t head, std::size_t d) const { return kv(key, 0, head, d); }
  std::size_t v(std::size_t key, std::size_t head, std::size_t d) const { return kv(key, 1, head, d); }

 private:
  std::size_t kv(std::size_t key, std::size_t which, std::size_t head, std::size_t d) const {
    return ((key * 2 + which) * kv_heads + head / (heads / kv_heads)) * head_size + d;
  }
};

struct AttentionDropout {
  float probability = 0;
  std::uint64_t key = 0;
  std::size_t first_head = 0;
  Values sample, offset;  // of each row

  // What p is multiplied by.
  double factor(std::size_t row, std::size_t head, std::size_t one_key) const {
    if (probability <= 0) return 1;
    // SplitMix64's finaliser of the key and the head (cuda/core/philox.h).
    std::uint64_t x = (key ^ (static_cast<std::uint64_t>(first_head + head) + 256)) + 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    const auto id = halves(static_cast<std::uint64_t>(sample[row]));
    const auto place = static_cast<std::uint32_t>(offset[one_key]);
    const auto block = philox({id[0], id[1], static_cast<std::uint32_t>(offset[row]), place / 4}, halves(x));
    const double threshold = std::floor(static_cast<double>(probability) * 4294967296.0);
    return static_cast<double>(block[place % 4]) < threshold ? 0 : 1 / (1 - static_cast<double>(probability));
  }
};

// What rounding p and ds to 16 bits before they are multiplied may do to them: x is off by unit |x| + least, least half
// of the smallest subnormal. Through the product, whose terms are p v (p d_o, ds k, ds q), a result is then off by the
// sum of (unit |x| + least) times the other factor's magnitude: `rounding` beside each output. Where p is rounded
// before dropout scales it, least is scaled too.
struct AttentionRounding {
  double unit = 0;
  double least = 0;
  double of(double x, double scale) const { return unit * std::abs(x) + scale * least; }
};

struct AttentionForward {
  Result o, lse;
  Values o_rounding;
};

// ranges [rows, 2].
inline AttentionForward attention_forward(const AttentionShape& shape, const Values& q, const Values& kv,
                                          const Values& ranges, double scale, const AttentionDropout& dropout,
                                          const AttentionRounding& rounding) {
  AttentionForward out{Result(q.size()), Result(shape.rows * shape.heads), Values(q.size())};
  for (std::size_t r = 0; r < shape.rows; ++r)
    for (std::size_t h = 0; h < shape.heads; ++h) {
      const auto begin = static_cast<std::size_t>(ranges[2 * r]);
      const auto end = static_cast<std::size_t>(ranges[2 * r + 1]);
      Result s(end - begin);
      for (std::size_t j = begin; j < end; ++j)
        for (std::size_t d = 0; d < shape.head_size; ++d)
          s.add(j - begin, scale * q[shape.q(r, h, d)] * kv[shape.k(j, h, d)]);
      double most = -std::numeric_limits<double>::infinity();
      double exponent_terms = 1;
      for (std::size_t j = 0; j < s.value.size(); ++j) {
        most = std::max(most, s.value[j]);
        exponent_terms = std::max(exponent_terms, 1 + 2 * s.terms[j]);
      }
      double sum = 0;
      for (double one : s.value) sum += std::exp(one - most);
      const std::size_t at = r * shape.heads + h;
      out.lse.value[at] = begin == end ? most : most + std::log(sum);
      out.lse.terms[at] = exponent_terms;
      for (std::size_t j = begin; j < end; ++j) {
        const double factor = dropout.factor(r, h, j);
        const double p = std::exp(s.value[j - begin] - out.lse.value[at]) * factor;
        // o is divided by the sum of exp(s - maximum) at the end: what is rounded is up to 1, and p times the sum.
        const double rounded = rounding.of(p, factor / sum);
        for (std::size_t d = 0; d < shape.head_size; ++d) {
          const double v = kv[shape.v(j, h, d)];
          out.o.add(shape.q(r, h, d), p * v, std::abs(p * v) * exponent_terms);
          out.o_rounding[shape.q(r, h, d)] += rounded * std::abs(v);
        }
      }
    }
  return out;
}

struct AttentionBackward {
  Result dq, dkv;
  Values dq_rounding, dkv_rounding;
};

// o and lse as they are given.
inline AttentionBackward attention_backward(const AttentionShape& shape, const Values& d_o, const Values& o,
                                            const Values& lse, const Values& q, const Values& kv, const Values& ranges,
                                            double scale, const AttentionDropout& dropout,
                                            const AttentionRounding& rounding) {
  AttentionBackward out{Result(q.size()), Result(kv.size()), Values(q.size()), Values(kv.size())};
  for (std::size_t r = 0; r < shape.rows; ++r)
    for (std::size_t h = 0; h < shape.heads; ++h) {
      Result delta(1);
      for (std::size_t d = 0; d < shape.head_size; ++d) delta.add(0, d_o[shape.q(r, h, d)] * o[shape.q(r, h, d)]);
      const double total = lse[r * shape.heads + h];
      for (auto j = static_cast<std::size_t>(ranges[2 * r]); j < static_cast<std::size_t>(ranges[2 * r + 1]); ++j) {
        const double factor = dropout.factor(r, h, j);
        Result s(1), dp(1);
        for (std::size_t d = 0; d < shape.head_size; ++d) {
          s.add(0, scale * q[shape.q(r, h, d)] * kv[shape.k(j, h, d)]);
          dp.add(0, factor * d_o[shape.q(r, h, d)] * kv[shape.v(j, h, d)]);
        }
        const double p = std::exp(s.value[0] - total);
        const double exponent_terms = 1 + s.terms[0] + std::abs(total);
        const double ds = scale * p * (dp.value[0] - delta.value[0]);
        const double ds_terms = scale * p * (dp.terms[0] + delta.terms[0]) * exponent_terms;
        const double p_rounded = rounding.of(p * factor, factor);
        const double ds_rounded = rounding.of(ds, scale);
        for (std::size_t d = 0; d < shape.head_size; ++d) {
          const std::size_t at_q = shape.q(r, h, d);
          const std::size_t at_k = shape.k(j, h, d);
          const double dv = p * factor * d_o[at_q];
          out.dkv.add(shape.v(j, h, d), dv, std::abs(dv) * exponent_terms);
          out.dq.add(at_q, ds * kv[at_k], ds_terms * std::abs(kv[at_k]));
          out.dkv.add(at_k, ds * q[at_q], ds_terms * std::abs(q[at_q]));
          out.dkv_rounding[shape.v(j, h, d)] += p_rounded * std::abs(d_o[at_q]);
          out.dq_rounding[at_q] += ds_rounded * std::abs(kv[at_k]);
          out.dkv_rounding[at_k] += ds_rounded * std::abs(q[at_q]);
        }
      }
    }
  return out;
}

}  // namespace trireme::oracle
