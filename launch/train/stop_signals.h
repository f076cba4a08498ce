// Schedulers and people end a run with a signal. It must not end in the middle of a step: the handler sets a flag, and
// the loop saves and returns at the next step's edge. A second Ctrl-C ends at once.
#pragma once

#include <atomic>

namespace trireme {

// While it lives, SIGINT, SIGTERM and SIGUSR1 set the flag (to the signal's number). One at a time in a process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  const std::atomic<int>& requested() const;
};

}  // namespace trireme
