// Sends and receives between named ranks that progress together. A header goes ahead of each message, so that a
// receiver knows, before a byte lands in its tensor, that the message is the one it waits for.
#pragma once

#include <span>

#include "parallel/comm/mpi_messages.h"

namespace trireme {

void mpi_exchange(MpiMessages& messages, const Call& call, std::span<const Transfer> sends,
                  std::span<const Transfer> receives);

}  // namespace trireme
