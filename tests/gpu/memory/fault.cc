#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {

const char* name(Finding finding) {
  switch (finding) {
    case Finding::kUnknownInstruction:
      return "unknown instruction";
    case Finding::kBadPtx:
      return "bad PTX";
    case Finding::kOutOfBounds:
      return "out of bounds";
    case Finding::kUseAfterFree:
      return "use after free";
    case Finding::kUninitialised:
      return "uninitialised memory";
    case Finding::kMisaligned:
      return "misaligned access";
    case Finding::kRaceInBlock:
      return "race in a block";
    case Finding::kRaceBetweenBlocks:
      return "race between blocks";
    case Finding::kRaceBetweenOperations:
      return "race between operations";
    case Finding::kCopyInFlight:
      return "asynchronous copy in flight";
    case Finding::kDivergence:
      return "divergence";
    case Finding::kInactiveLane:
      return "inactive lane";
    case Finding::kLimit:
      return "limit";
    case Finding::kTrap:
      return "trap";
    case Finding::kDoubleFree:
      return "double free";
  }
  return "finding";
}

}  // namespace trireme::gpu
