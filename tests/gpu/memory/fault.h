// A GPU goes on after most mistakes and answers wrongly later, elsewhere. The stand-in stops at the first one: whatever
// it finds is thrown as a Fault, whose what() is one paragraph that names kernel, line of the PTX, block, thread,
// address and allocation. Nobody catches it but the runtime's outermost call, which prints "gpu stand-in: " and what()
// and ends the process with kFaultExitCode.
#pragma once

#include <stdexcept>
#include <string>

namespace trireme::gpu {

inline constexpr int kFaultExitCode = 86;

enum class Finding {
  kUnknownInstruction,  // opcode or modifier that has no model
  kBadPtx,              // text that is no PTX, or what the stand-in does not take
  kOutOfBounds,         // outside of every allocation, or across the end of one
  kUseAfterFree,
  kUninitialised,  // bytes that nobody has written
  kMisaligned,
  kRaceInBlock,
  kRaceBetweenBlocks,
  kRaceBetweenOperations,  // two operations of streams without an event or a synchronisation between them
  kCopyInFlight,           // cp.async not waited for
  kDivergence,             // barrier or shuffle that some of the named threads never reach
  kInactiveLane,           // value read from a lane that takes no part
  kLimit,                  // beyond a limit of the device or of a method of the stand-in
  kTrap,                   // trap, or a failed device assertion
  kDoubleFree,
};
const char* name(Finding finding);

class Fault : public std::runtime_error {
 public:
  Fault(Finding finding, const std::string& message) : std::runtime_error(message), finding_(finding) {}
  Finding finding() const { return finding_; }

 private:
  Finding finding_;
};

}  // namespace trireme::gpu
