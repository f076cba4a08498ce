// Where a rank is, said as it gets there, to whoever wants to know: tests that end a run at a chosen moment, and later
// the supervisor that asks a hung one.
#pragma once

#include <cstdint>

namespace trireme {

enum class RunPhase {
  kData,       // waiting for the loader
  kBackward,   // forward and backward passes, reductions under way
  kReduction,  // waiting for the last reductions
  kOptimizer,  // updating the weights
  kSnapshot,   // copying tensors for a checkpoint
  kWriting,    // writing them (on the saver's thread)
  kCommit,     // making the checkpoint appear
};
inline constexpr const char* kRunPhaseNames[] = {"data",     "backward", "reduction", "optimizer",
                                                 "snapshot", "writing",  "commit"};

class RunObserver {
 public:
  virtual ~RunObserver() = default;
  // Called on the thread that enters; must not throw. `step` counts from 1.
  virtual void enter(RunPhase phase, std::int64_t step) = 0;
};

}  // namespace trireme
