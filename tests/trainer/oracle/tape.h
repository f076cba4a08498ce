// Reverse-mode differentiation of scalars in fp64, as plain as it can be: every addition and every product is a node
// that remembers its operands and the derivatives by them. A model written on it as loops over indices has gradients
// that nobody derived by hand, and shares nothing with the code under test.
//
// A tape can also play a machine of lower precision (D. S. Parker, "Monte Carlo arithmetic", UCLA 1997): each result is
// then off by a random relative error of at most one unit roundoff, forward and backward. How far that moves a result
// is how well the result is determined in that precision, cancellation and all: the bounds of the tests come from it.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace trireme::oracle {

// Where a machine rounds, and how coarsely; zero: exactly.
struct Rounding {
  double arithmetic = 0;  // unit roundoff of every operation (2^-24 for fp32)
  double storage = 0;     // of every tensor that a layer hands on (2^-8 for bf16)
  std::uint64_t seed = 0;
};

class Tape;

struct Var {
  Tape* tape = nullptr;
  std::uint32_t at = 0;
  double value() const;
};

class Tape {
 public:
  explicit Tape(const Rounding& rounding = {}) : rounding_(rounding), state_(rounding.seed * 2 + 1) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Var input(double value) { return push({value, 0, 0, 0, 0, Kind::kInput}); }
  // A result with its derivatives by a and b.
  Var result(double value, Var a, double da, Var b, double db) {
    return push({noisy(value, rounding_.arithmetic), a.at, b.at, da, db, Kind::kResult});
  }
  Var result(double value, Var a, double da) { return result(value, a, da, a, 0); }
  // x as a tensor's element keeps it; its gradient passes through such a tensor too.
  Var store(Var x) { return push({noisy(x.value(), rounding_.storage), x.at, x.at, 1, 0, Kind::kStore}); }
  // x as it is, where only its gradient passes through such a tensor.
  Var store_gradient(Var x) { return push({x.value(), x.at, x.at, 1, 0, Kind::kStore}); }

  // d of / d each node, and the sum of the magnitudes of what its uses add to it: a weight is used once for each row.
  struct Derivatives {
    std::vector<double> sums, terms;
  };
  Derivatives differentiate(Var of) {
    Derivatives all{std::vector<double>(nodes_.size()), std::vector<double>(nodes_.size())};
    std::vector<double>& sums = all.sums;
    sums[of.at] = 1;
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      const Node& node = nodes_[i];
      if (node.kind == Kind::kInput || sums[i] == 0) continue;
      const double arriving = node.kind == Kind::kStore ? noisy(sums[i], rounding_.storage) : sums[i];
      add(sums[node.a], arriving * node.da);
      all.terms[node.a] += std::abs(arriving * node.da);
      if (node.db != 0) add(sums[node.b], arriving * node.db);
      all.terms[node.b] += std::abs(arriving * node.db);
    }
    return all;
  }

  double value(std::uint32_t at) const { return nodes_[at].value; }

 private:
  enum class Kind : std::uint8_t { kInput, kResult, kStore };
  struct Node {
    double value;
    std::uint32_t a, b;
    double da, db;
    Kind kind;
  };

  Var push(const Node& node) {
    nodes_.push_back(node);
    return {this, static_cast<std::uint32_t>(nodes_.size() - 1)};
  }
  void add(double& sum, double term) { sum = noisy(sum + noisy(term, rounding_.arithmetic), rounding_.arithmetic); }
  double noisy(double x, double unit) {
    if (unit == 0) return x;
    state_ ^= state_ << 13;  // G. Marsaglia, "Xorshift RNGs", 2003
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return x * (1 + unit * (static_cast<double>(state_ >> 11) * 0x1p-52 - 1));
  }

  Rounding rounding_;
  std::uint64_t state_;
  std::vector<Node> nodes_;
};

inline double Var::value() const { return tape->value(at); }

inline Var operator+(Var a, Var b) { return a.tape->result(a.value() + b.value(), a, 1, b, 1); }
inline Var operator-(Var a, Var b) { return a.tape->result(a.value() - b.value(), a, 1, b, -1); }
inline Var operator*(Var a, Var b) { return a.tape->result(a.value() * b.value(), a, b.value(), b, a.value()); }
inline Var operator/(Var a, Var b) {
  return a.tape->result(a.value() / b.value(), a, 1 / b.value(), b, -a.value() / (b.value() * b.value()));
}
inline Var operator+(Var a, double b) { return a.tape->result(a.value() + b, a, 1); }
inline Var operator*(Var a, double b) { return a.tape->result(a.value() * b, a, b); }
inline Var exp(Var x) { return x.tape->result(std::exp(x.value()), x, std::exp(x.value())); }
inline Var log(Var x) { return x.tape->result(std::log(x.value()), x, 1 / x.value()); }
inline Var sqrt(Var x) { return x.tape->result(std::sqrt(x.value()), x, 0.5 / std::sqrt(x.value())); }
inline Var tanh(Var x) {
  const double y = std::tanh(x.value());
  return x.tape->result(y, x, 1 - y * y);
}

}  // namespace trireme::oracle
