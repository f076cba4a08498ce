// The claim that a drawn case is held to: its layout's trial is one rank's, bit for bit in exact numerics, else within
// a bound that the fp64 model gives, token by token. (One rank is itself held against the fp64 model and PyTorch, in
// tests/trainer/model/.)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/trainer/layout/drawn_layout.h"
#include "tests/trainer/oracle/decoder.h"
#include "trainer/verify/trial.h"

namespace trireme {

class OneRank {
 public:
  explicit OneRank(const DrawnLayout& drawn);

  // How the case is tried on its layout: for two steps, which in fast numerics leave the weights as they are, for at
  // them the fp64 model is asked.
  const Experiment& experiment() const { return experiment_; }
  TrialOptions options(const TrialSeams* seams = nullptr) const;

  // "" or what is wrong with the layout's trial. The first call runs the case on one rank, a thread of this process.
  std::string wrong_with(const Trial& many);
  // How near a gradient came to its bound so far, as a share of it; 0 in exact numerics.
  double nearest() const { return nearest_; }

 private:
  std::string within_bounds(const Trial& alone, const Trial& many);

  DrawnLayout drawn_;
  Experiment experiment_;
  std::optional<Trial> alone_;
  std::vector<oracle::Tensors> terms_;  // of each step; made when first needed
  double nearest_ = 0;
};

}  // namespace trireme
