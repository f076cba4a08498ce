// 32 threads in lockstep. Each lane has a program counter; those at the least one run together until they diverge or
// meet others. A lane that reaches an instruction for which others must come (shuffle, vote, warp barrier, mma) waits
// there for exactly the lanes that its mask names, so divergence costs nothing while it is legal, and is reported when
// it is not.
//
// Registers are slots (instruction.h). The warp's clock, for the race detector, advances at barriers: `seen[w]` says up
// to which clock this warp's view of warp w reaches.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/gpu/execute/instruction.h"
#include "tests/gpu/execute/program.h"
#include "tests/gpu/memory/access_history.h"
#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {

class Block;
struct Counters;

inline constexpr std::uint32_t kMostWarps = 32;

class Warp {
 public:
  Warp(Block& block, const Program& program, std::uint32_t number);

  void start(Mask threads);  // of a new block
  enum class Pause { kDone, kBarrier };
  Pause run();          // until it is done or at a barrier of the block
  void pass_barrier();  // the block's other warps have come
  bool done() const { return alive_ == 0; }
  const Instruction& barrier() const { return program_.code[pc_]; }

  template <class T>
  T* lanes(Slot slot) {
    return reinterpret_cast<T*>(registers_.get() + slot);
  }
  Mask& predicate(Slot slot) { return *lanes<Mask>(slot); }
  void set(Slot slot, std::uint64_t bits, std::uint8_t bytes);   // in all lanes
  std::uint64_t value(Slot slot, std::uint8_t bytes, int lane);  // zero-extended
  void store(Slot slot, std::uint8_t bytes, int lane, std::uint64_t bits);
  std::byte* local(int lane) { return local_.data() + static_cast<std::size_t>(lane) * program_.local_bytes; }

  Block& block() { return block_; }
  Counters& counters() { return counters_; }
  const Program& program() const { return program_; }
  std::uint32_t number() const { return number_; }
  Mask alive() const { return alive_; }
  Actor actor(int lane) const;
  std::uint32_t clock() const { return seen[number_]; }
  void advance_clock(std::uint32_t clock);

  [[noreturn]] void fault(Finding finding, int lane, const std::string& what) const;
  [[noreturn]] void fault(Finding finding, int lane, const std::string& what, const Instruction& at) const;

  std::array<std::uint32_t, kMostWarps> seen{};
  std::uint32_t seen_of_all = 0;
  Mask carry = 0;  // of add.cc and its like

  // Copies that a thread has begun and not waited for, and where its committed groups end (async_copy.cc).
  struct Copy {
    std::uint64_t to = 0;
    std::uint64_t from = 0;
    std::uint8_t bytes = 0;
    std::uint8_t source_bytes = 0;
    const Instruction* instruction = nullptr;
  };
  struct Copies {
    std::vector<Copy> begun{};
    std::vector<std::size_t> group_ends{};
  };
  std::array<Copies, kLanes> copies{};

 private:
  Mask guarded(const Instruction& instruction) {
    if (instruction.guard == kNoSlot) return active_;
    const Mask taken = predicate(instruction.guard);
    return active_ & (instruction.guard_negated ? ~taken : taken);
  }
  void settle();                                // writes the active lanes' counters down
  bool regroup();                               // takes up the lanes at the least counter; false: none can run
  void jump(Mask lanes, std::uint32_t target);  // `lanes` of the active ones; the others go on
  void leave(Mask lanes);
  void branch_by_table(const Instruction& instruction, Mask lanes);
  void come_back(const Instruction& instruction, Mask lanes);
  void come_together(const Instruction& instruction, Mask lanes);
  bool wait_for_all(const Instruction& instruction, Mask lanes);
  [[noreturn]] void stuck() const;

  Block& block_;
  const Program& program_;
  Counters& counters_;
  std::uint32_t number_;
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte[], Free> registers_;
  std::vector<std::byte> local_{};

  Mask alive_ = 0;
  Mask waiting_ = 0;  // for other lanes, at an instruction that they must reach together
  Mask active_ = 0;   // run together, at pc_
  std::uint32_t pc_ = 0;
  std::uint32_t merge_ = 0;  // least counter of the others that could run
  std::array<std::uint32_t, kLanes> pcs_{};
};

}  // namespace trireme::gpu
