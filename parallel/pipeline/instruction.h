// A schedule is data: what a rank does in a step is a list that can be printed, read, checked and drawn before it runs.
// `2F0` is the forward pass of micro-batch 0 through stage 2; B is the gradient of its input, W that of its weights.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct Instruction {
  enum class Kind : char { kForward = 'F', kBackwardInput = 'B', kBackwardWeight = 'W' };
  int stage = 0;
  Kind kind = Kind::kForward;
  int micro_batch = 0;
  bool operator==(const Instruction&) const = default;
};

using Schedule = std::vector<Instruction>;  // of one rank, in order

std::string to_string(const Schedule& schedule);  // "0F0 0B0 0W0"
// Throws UserError naming the word and its place.
Schedule parse_schedule(std::string_view text);

// One rank that holds the whole model: each micro-batch forward, then back at once. 0F0 0B0 0W0 0F1 0B1 0W1 ...
Schedule one_stage(int micro_batches);

// Throws UserError unless every micro-batch of every stage in the list goes forward, then back, then to the weights,
// once each.
void check_schedule(const Schedule& schedule);

}  // namespace trireme
