// What tensor parallelism does not cut, every rank holds and gives the gradient of its own rows: norms, biases of sums
// over ranks, positions. Heads of K and V that are fewer than the ranks are held by several, each with the gradient of
// its own heads of Q. The whole gradient is the sum over those that hold the same, and a sum that somebody forgets
// shows nowhere but in the model. So who adds what with whom follows from the ParamSpecs alone, here.
//
// Collective over tensor parallelism's ranks, whose specs are alike: the constructor. Owns the groups that it makes of
// `tp`, which outlives this; all on the communication stream.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/placement/param_spec.h"

namespace trireme {

class ReplicaSums {
 public:
  ReplicaSums(std::span<const ParamSpec> specs, const AxisPlaces& places, Communicator& tp);

  // Parameters [first, last) that follow each other and are summed over one group.
  struct Run {
    std::size_t first = 0;
    std::size_t last = 0;
    Communicator* group = nullptr;
  };
  // Of parameters [first, last), those that must be summed; in order.
  std::vector<Run> runs(std::size_t first, std::size_t last) const;

 private:
  std::map<std::int64_t, std::unique_ptr<Communicator>> made_;  // by the number of replicas
  std::vector<Communicator*> group_of_;                         // parameter -> its group; null: nothing to sum
};

}  // namespace trireme
