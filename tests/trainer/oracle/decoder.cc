#include "tests/trainer/oracle/decoder.h"

#include <algorithm>
#include <cmath>

#include "tests/cuda/oracle/attention.h"
#include "tests/cuda/oracle/philox.h"

namespace trireme::oracle {
namespace {

using Row = std::vector<Var>;
using Rows = std::vector<Row>;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

Var sum(const Row& terms) {
  Var total = terms.front();
  for (std::size_t i = 1; i < terms.size(); ++i) total = total + terms[i];
  return total;
}

class Run {
 public:
  Run(const Decoder& decoder, const Tensors& parameters, const std::vector<Token>& rows, std::uint64_t seed, Mode mode,
      const Rounding& rounding)
      : d_(decoder), rows_(rows), seed_(seed), training_(mode == Mode::kTraining), tape_(rounding) {
    for (const auto& [name, values] : parameters)
      for (double value : values) weights_[name].push_back(tape_.input(value));
  }

  Outcome outcome() {
    Rows x = embed();
    for (int layer = 0; layer < d_.layers; ++layer) {
      const std::string name = "layers." + std::to_string(layer);
      x = join(x, attention(norm(x, name + ".attention_norm"), name + ".attention"), name + ".attention");
      x = join(x, mlp(norm(x, name + ".mlp_norm"), name + ".mlp"), name + ".mlp");
    }
    return head(norm(x, "final_norm"));
  }

 private:
  const Row& weight(const std::string& name) const { return weights_.at(name); }
  Row stored(Row row) {
    for (Var& one : row) one = tape_.store(one);
    return row;
  }

  // y[r][o] = sum_i x[r][i] w[o][i] + b[o]
  Rows linear(const Rows& x, const std::string& name, int outputs) {
    const Row& w = weight(name + ".weight");
    const bool biased = weights_.contains(name + ".bias");
    Rows y;
    for (const Row& one : x) {
      Row result;
      for (int o = 0; o < outputs; ++o) {
        Row terms;
        for (std::size_t i = 0; i < one.size(); ++i) terms.push_back(one[i] * w[at(o) * one.size() + i]);
        if (biased) terms.push_back(weight(name + ".bias")[at(o)]);
        result.push_back(sum(terms));
      }
      y.push_back(stored(result));
    }
    return y;
  }

  Rows norm(const Rows& x, const std::string& name) {
    const Row& w = weight(name + ".weight");
    Rows y;
    for (const Row& one : x) {
      const double n = static_cast<double>(one.size());
      Row centred = one;
      if (d_.family == Family::kGpt2) {
        const Var mean = sum(one) * (1 / n);
        for (Var& each : centred) each = each - mean;
      }
      Row squares;
      for (Var each : centred) squares.push_back(each * each);
      const Var deviation = sqrt(sum(squares) * (1 / n) + d_.norm_epsilon);
      Row result;
      for (std::size_t i = 0; i < one.size(); ++i) {
        result.push_back(centred[i] / deviation * w[i]);
        if (d_.family == Family::kGpt2) result.back() = result.back() + weight(name + ".bias")[i];
      }
      y.push_back(stored(result));
    }
    return y;
  }

  Rows embed() {
    Rows x;
    for (const Token& token : rows_) {
      Row row;
      for (int c = 0; c < d_.hidden; ++c) {
        row.push_back(weight("embedding.tokens.weight")[at(token.id * d_.hidden + c)]);
        if (d_.family == Family::kGpt2)
          row.back() = row.back() + weight("embedding.positions.weight")[at(token.position * d_.hidden + c)];
      }
      x.push_back(stored(row));
    }
    return drop(x, "embedding.dropout");
  }

  // What survives, scaled; drawn by (sample, offset, column).
  Rows drop(Rows x, const std::string& site) {
    if (!training_ || d_.dropout == 0) return x;
    for (std::size_t r = 0; r < x.size(); ++r) {
      const Values ones(x[r].size(), 1);
      const Values factors =
          dropout(ones, {}, static_cast<float>(d_.dropout), key_of(seed_, site), {static_cast<double>(rows_[r].sample)},
                  {static_cast<double>(rows_[r].offset)}, ones.size())
              .value;
      for (std::size_t c = 0; c < x[r].size(); ++c) x[r][c] = tape_.store(x[r][c] * factors[c]);
    }
    return x;
  }

  Rows join(const Rows& trunk, const Rows& branch, const std::string& name) {
    Rows y = drop(branch, name + ".dropout");
    for (std::size_t r = 0; r < y.size(); ++r)
      for (std::size_t c = 0; c < y[r].size(); ++c) y[r][c] = tape_.store(trunk[r][c] + y[r][c]);
    return y;
  }

  // Turns the pairs (d, d + D/2) of every head of [heads, D].
  void rotate(Row& x, int heads, int position) {
    const int half = d_.head_dim / 2;
    for (int h = 0; h < heads; ++h)
      for (int d = 0; d < half; ++d) {
        const double angle = position * std::pow(d_.rope_theta, -2.0 * d / d_.head_dim);
        Var& a = x[at(h * d_.head_dim + d)];
        Var& b = x[at(h * d_.head_dim + d + half)];
        const Var turned = a * std::cos(angle) - b * std::sin(angle);
        b = tape_.store(b * std::cos(angle) + a * std::sin(angle));
        a = tape_.store(turned);
      }
  }

  Rows attention(const Rows& x, const std::string& name) {
    const int kv_width = d_.kv_heads * d_.head_dim;
    Rows q = linear(x, name + ".q", d_.heads * d_.head_dim);
    const Rows kv = linear(x, name + ".kv", 2 * kv_width);
    Rows k, v;
    for (std::size_t r = 0; r < x.size(); ++r) {
      k.emplace_back(kv[r].begin(), kv[r].begin() + kv_width);
      v.emplace_back(kv[r].begin() + kv_width, kv[r].end());
      if (d_.family == Family::kLlama) {
        rotate(q[r], d_.heads, rows_[r].position);
        rotate(k[r], d_.kv_heads, rows_[r].position);
      }
    }
    AttentionDropout drops;
    if (training_) drops.probability = static_cast<float>(d_.attention_dropout);
    drops.key = key_of(seed_, name + ".dropout");
    for (const Token& token : rows_) {
      drops.sample.push_back(static_cast<double>(token.sample));
      drops.offset.push_back(token.offset);
    }
    Rows o;
    for (std::size_t r = 0; r < x.size(); ++r) {
      Row row;
      for (int h = 0; h < d_.heads; ++h) {
        const int group = h / (d_.heads / d_.kv_heads);
        const std::size_t first = at(rows_[r].first_key);
        Row e;
        for (std::size_t j = first; j <= r; ++j) {
          Row products;
          for (int d = 0; d < d_.head_dim; ++d)
            products.push_back(q[r][at(h * d_.head_dim + d)] * k[j][at(group * d_.head_dim + d)]);
          e.push_back(exp(sum(products) * (1 / std::sqrt(static_cast<double>(d_.head_dim)))));
        }
        // Its gradient is what the backward pass takes from o as stored, dO . o.
        const Var total = tape_.store_gradient(sum(e));
        for (int d = 0; d < d_.head_dim; ++d) {
          Row terms;
          for (std::size_t j = first; j <= r; ++j)
            terms.push_back(e[j - first] / total * drops.factor(r, at(h), j) * v[j][at(group * d_.head_dim + d)]);
          row.push_back(tape_.store(sum(terms)));
        }
      }
      o.push_back(row);
    }
    return linear(o, name + ".out", d_.hidden);
  }

  Rows mlp(const Rows& x, const std::string& name) {
    const bool gated = d_.family == Family::kLlama;
    Rows g;
    for (const Row& u : gated ? linear(x, name + ".gate_up", 2 * d_.ffn) : linear(x, name + ".up", d_.ffn)) {
      Row row;
      for (int f = 0; f < d_.ffn; ++f) {
        const Var a = u[at(f)];
        if (gated) {
          row.push_back(a / (exp(a * -1) + 1) * u[at(d_.ffn + f)]);
        } else {
          const Var inner = (a + a * a * a * 0.044715) * std::sqrt(2 / kPi);
          row.push_back(a * 0.5 * (tanh(inner) + 1));
        }
      }
      g.push_back(stored(row));
    }
    return linear(g, name + ".down", d_.hidden);
  }

  Outcome head(const Rows& x) {
    Outcome out;
    const std::string table = d_.tied ? "embedding.tokens.weight" : "head.weight";
    const double smoothing = training_ ? d_.label_smoothing : 0;
    const double z = training_ ? d_.z_loss : 0;
    Row losses;
    for (std::size_t r = 0; r < x.size(); ++r) {
      Row logits;
      for (int v = 0; v < d_.vocabulary; ++v) {
        Row terms;
        for (int c = 0; c < d_.hidden; ++c) terms.push_back(x[r][at(c)] * weight(table)[at(v * d_.hidden + c)]);
        logits.push_back(sum(terms));
      }
      out.logits.emplace_back();
      for (Var one : logits) out.logits.back().push_back(one.value());
      if (rows_[r].offset == 0) out.sample_losses.push_back(0);
      if (!rows_[r].counts) continue;
      for (Var& one : logits) one = tape_.store_gradient(one);
      Row e;
      for (Var one : logits) e.push_back(exp(one));
      const Var lse = log(sum(e));
      const Var target = logits[at(rows_[r].target)];
      out.sample_losses.back() += lse.value() - target.value();
      Var loss = (lse - target) * (1 - smoothing);
      loss = loss + (lse - sum(logits) * (1.0 / d_.vocabulary)) * smoothing;
      losses.push_back(loss + lse * lse * z);
    }
    if (losses.empty()) return out;
    const Var mean = sum(losses) * (1 / static_cast<double>(losses.size()));
    out.loss = mean.value();
    const Tape::Derivatives gradients = tape_.differentiate(mean);
    for (const auto& [name, vars] : weights_)
      for (Var var : vars) {
        out.gradients[name].push_back(gradients.sums[var.at]);
        out.terms[name].push_back(gradients.terms[var.at]);
      }
    return out;
  }

  const Decoder& d_;
  const std::vector<Token>& rows_;
  std::uint64_t seed_;
  bool training_;
  Tape tape_;
  std::map<std::string, Row> weights_;
};

}  // namespace

Outcome run(const Decoder& decoder, const Tensors& parameters, const std::vector<Token>& rows, std::uint64_t seed,
            Mode mode, const Rounding& rounding) {
  return Run(decoder, parameters, rows, seed, mode, rounding).outcome();
}

std::uint64_t key_of(std::uint64_t seed, const std::string& name) {
  const auto mix = [](std::uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  };
  std::uint64_t key = mix(seed);
  for (char letter : name) key = mix(key ^ static_cast<unsigned char>(letter));
  return key;
}

}  // namespace trireme::oracle
