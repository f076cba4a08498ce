// A schedule is data: what a rank does in a step is a list that can be printed, read, checked, simulated and drawn
// before it runs. `2F0` is the forward pass of micro-batch 0 through stage 2. The letters:
//
//   F  forward                           S  send the output, to stage + 1          s  send the input's gradient, to
//   stage - 1 B  gradient of the input             R  receive the input, from stage - 1      r  receive the output's
//   gradient, from W  gradient of the weights              stage + 1
//
// `1S3 +1R4` is one exchange: a transfer with a plus progresses together with the one before it, of its kind:
// activations (S, R) or gradients (s, r).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct Instruction {
  enum class Kind : char {
    kForward = 'F',
    kBackwardInput = 'B',
    kBackwardWeight = 'W',
    kSendOutput = 'S',
    kReceiveInput = 'R',
    kSendGradient = 's',
    kReceiveGradient = 'r',
  };
  int stage = 0;
  Kind kind = Kind::kForward;
  int micro_batch = 0;
  bool joined = false;  // of a transfer
  bool operator==(const Instruction&) const = default;

  bool is_send() const { return kind == Kind::kSendOutput || kind == Kind::kSendGradient; }
  bool is_receive() const { return kind == Kind::kReceiveInput || kind == Kind::kReceiveGradient; }
  bool is_transfer() const { return is_send() || is_receive(); }
  bool moves_gradient() const { return kind == Kind::kSendGradient || kind == Kind::kReceiveGradient; }
};

// Of a transfer: what the other stage must do, 2R0 for 1S0.
Instruction counterpart(const Instruction& transfer);

using Schedule = std::vector<Instruction>;  // of one rank, in order

// B at `index` with its W right behind it: the two run as one, layer by layer.
bool fused_backward(const Schedule& schedule, std::size_t index);

std::string to_string(const Instruction& instruction);  // "0F0"
std::string to_string(const Schedule& schedule);        // "0F0 0B0 0W0"
// Throws UserError naming the word and its place.
Schedule parse_schedule(std::string_view text);

// One rank that holds the whole model: each micro-batch forward, then back at once. 0F0 0B0 0W0 0F1 0B1 0W1 ...
Schedule one_stage(int micro_batches);

// Throws UserError unless every micro-batch of every stage in the list goes forward, then back, then to the weights,
// once each. Transfers are not looked at: simulate.h proves those, of all ranks together.
void check_schedule(const Schedule& schedule);

}  // namespace trireme
