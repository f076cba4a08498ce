// Recomputation trades time for memory, and the ranks of a pipeline have unlike amounts of both: under 1F1B the first
// keeps the most micro-batches, and the last has the head to compute. So each of them may choose for itself.
//
// A choice belongs to a rank of the pipeline (its place on pp) and holds for all the stages that it has, chunk by
// chunk.
#pragma once

#include <string>
#include <vector>

#include "parallel/layout.pb.h"

namespace trireme {

class Recomputation {
 public:
  Recomputation(config::Recompute all = config::none) : choices_{all} {}
  // One choice for all ranks of a pipeline, or one for each, from the first; none is a bug. Equal ones are one for all.
  explicit Recomputation(std::vector<config::Recompute> choices);

  bool fits(int ranks) const { return choices_.size() == 1 || choices_.size() == static_cast<std::size_t>(ranks); }
  config::Recompute of(int rank) const;  // its place on pp; CHECKs that there is a choice for it
  bool any() const { return *this != Recomputation(); }

  // For a pipeline of so many ranks, with as many different choices of these as it has room for, those that give up
  // most, in their order.
  Recomputation over(int ranks) const;

  const std::vector<config::Recompute>& choices() const { return choices_; }
  bool operator==(const Recomputation&) const = default;

 private:
  std::vector<config::Recompute> choices_;  // one, or one for each rank
};

std::string to_string(const Recomputation& recomputation);  // as configurations say it: "full", "[full, none]"

}  // namespace trireme
