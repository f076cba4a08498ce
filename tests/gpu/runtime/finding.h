// Two things can be wrong with what a program asks of a GPU. What a driver would refuse is refused, with its error
// code: the program is expected to handle that. What a GPU would let pass (a race, a leak, memory of the wrong side) is
// a finding: it is printed and ends the process with kFaultExitCode, so that no test can pass over it.
#pragma once

#include <stdexcept>
#include <string>

#include <driver_types.h>

namespace trireme::gpu {

// Prints "gpu stand-in: [rank R: ]MESSAGE", writes the report and ends the process. Callable from any thread.
[[noreturn]] void end_with_finding(const std::string& message);

// Prints one line in the same form and goes on.
void say(const std::string& message);

// Thrown by what refuses; the C function that was called catches it, says why in one line, and returns `code`.
struct Refusal : std::runtime_error {
  Refusal(cudaError_t error, const std::string& why) : std::runtime_error(why), code(error) {}
  cudaError_t code;
};

std::string hex(const void* address);  // "0x7f..."

}  // namespace trireme::gpu
