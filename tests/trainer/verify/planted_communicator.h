// A communicator that makes chosen calls wrongly and passes on all others, for mistakes that are left out or misplaced
// sums. Its subgroups are led astray alike.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cuda/core/device.h"
#include "parallel/comm/communicator.h"

namespace trireme {

struct PlantedCall {
  const std::string& group;  // "dp", "tp replicas"
  int ranks;                 // of the group
  std::string_view op;       // "all_reduce"
  const CallFor& what;

  bool is_about(std::string_view part) const { return what.tensor.find(part) != std::string_view::npos; }
};

struct Detour {
  // Which calls are not made: what they would have written stays as it was.
  std::function<bool(const PlantedCall&)> leave_out{};
  // Around an all_reduce or a reduce_scatter, on its stream: with what goes in, and with what came out.
  std::function<void(const PlantedCall&, Stream, Tensor)> before_sum{};
  std::function<void(const PlantedCall&, Stream, Tensor)> after_sum{};
};

std::unique_ptr<Communicator> lead_astray(std::unique_ptr<Communicator> honest, Device& device, Detour detour,
                                          std::string name = "world");

}  // namespace trireme
