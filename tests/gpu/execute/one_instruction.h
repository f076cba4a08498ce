// Whether an instruction's model does what the PTX ISA says can only be seen by running it, alone and through all that
// stands around it: parser, decoder, warps. This runs a kernel in which every thread loads its operands, executes the
// instruction and stores its results, and knows which models were exercised so (coverage.h).
//
// In `text`, $0, $1, ... stand for registers: first the results, then the operands, each as wide as its letter says (p
// a predicate, h 16 bits, w 32, d 64). %buffer is the address of `buffer`, shared by all threads. Every line of `text`
// counts as exercised and gets the guard; those of `before` and `after` are neither. The kernel's parameter one_bytes
// holds parameter_byte(0), parameter_byte(1), ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace trireme::gpu {

struct OneInstruction {
  std::string text{};
  std::string results{};   // letters
  std::string operands{};  // letters
  std::string before{};    // lines of the kernel's
  std::string after{};
  std::string variables{};  // of the module
  std::string declared{};   // in the kernel
};

// What one thread begins with. Threads that do not take part must keep `kept` in their result registers.
struct Thread {
  bool takes_part = true;
  std::vector<std::uint64_t> kept{};      // results' registers before; zeros where it is shorter
  std::vector<std::uint64_t> operands{};  // low bits count; a predicate is whether it is zero
};

struct Outcome {
  std::vector<std::vector<std::uint64_t>> results{};  // [thread][result], zero-extended
  std::vector<std::byte> buffer{};
};

struct Shape {
  std::uint32_t block = 64;  // threads; more threads than these are further blocks
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint64_t seed = 1;
};

// Of the kernel's parameter one_bytes, aligned to 16.
inline constexpr std::size_t kParameterBytes = 64;
std::byte parameter_byte(std::size_t i);

// With Guard::kPredicate the instruction stands behind @p, p being `takes_part`. Otherwise all take part. Throws Fault.
enum class Guard { kNone, kPredicate };
Outcome run_one(const OneInstruction& instruction, const std::vector<Thread>& threads, Guard guard,
                const std::vector<std::byte>& buffer = {}, const Shape& shape = {});

// The module's text, for messages and for tests of what goes beyond running.
std::string module_text(const OneInstruction& instruction, Guard guard);

}  // namespace trireme::gpu
