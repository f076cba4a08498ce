// Everything a rank's code may know about where it runs, handed down instead of globals: one for each rank, so that
// many ranks can be threads of one process.
#pragma once

#include "cuda/core/arena.h"
#include "cuda/core/device.h"

namespace trireme {

struct Kernels;

// Owned by whoever started the rank; outlives all that was made with it.
struct Context {
  Device* device = nullptr;
  const Kernels* ops = nullptr;
  Arena* arena = nullptr;
  Stream compute;  // the stream of the model and the optimizer
};

}  // namespace trireme
