// A communicator that makes chosen calls wrongly and passes on all others, for mistakes that are left out or misplaced
// sums. Its subgroups are led astray alike.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cuda/core/device.h"
#include "parallel/comm/communicator.h"

namespace trireme {

// Which calls, of the group of this name ("dp", "tp replicas"), are not made: what they would have written stays as it
// was.
using LeaveOut = std::function<bool(const std::string& group, std::string_view op, const CallFor& call)>;

std::unique_ptr<Communicator> leave_out(std::unique_ptr<Communicator> honest, Device& device, LeaveOut which,
                                        std::string name = "world");

}  // namespace trireme
