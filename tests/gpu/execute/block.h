// One block of a launch: its shared memory, its warps, and the barriers between them. Warps run one at a time until
// each waits or is done; which goes next is drawn from the seed. The object serves all blocks of a launch one after
// another.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/gpu/execute/launch.h"
#include "tests/gpu/execute/warp.h"
#include "tests/gpu/memory/global_access.h"
#include "tests/gpu/memory/shared_memory.h"

namespace trireme::gpu {

// What a barrier does, besides waiting; Instruction::extra.
enum class BarrierKind : std::uint8_t { kSync, kArrive, kCount, kAnd, kOr };

class Block {
 public:
  Block(const Launch& launch, const Program& program, GlobalAccess& global, const Operation& operation, bool races,
        Counters& counters, std::uint64_t seed);

  void run(std::uint32_t index);  // of the grid, x fastest

  Counters& counters() { return counters_; }
  GlobalAccess& global() { return global_; }
  SharedMemory& shared() { return shared_; }
  std::span<const std::byte> parameters() const { return launch_.parameters; }
  const Actor& actor() const { return actor_; }
  std::uint32_t threads() const { return threads_; }
  std::string place() const;                            // "block (3, 0, 0)"
  std::string thread_name(std::uint32_t number) const;  // "thread (5, 1, 0)"

 private:
  struct Barrier {
    std::uint32_t arrived = 0;  // threads
    std::uint32_t count = 0;    // threads that it takes; 0: all that are left
    std::uint32_t waiting = 0;  // warps, a bit each
    std::uint32_t joined = 0;   // warps that came, waiting or not
    std::uint32_t result = 0;   // of a reduction
    const Instruction* first = nullptr;
    std::array<std::uint32_t, kMostWarps> seen{};
  };

  void start(std::uint32_t index);
  void fill_specials(Warp& warp);
  void arrive(Warp& warp);
  void open_if_complete(Barrier& barrier);
  void open(Barrier& barrier);
  void reduce(Barrier& barrier, Warp& warp, const Instruction& instruction) const;
  [[noreturn]] void deadlock() const;
  std::uint32_t left() const;  // warps that are not done, a bit each

  const Launch& launch_;
  const Program& program_;
  GlobalAccess& global_;
  Counters& counters_;
  std::mt19937_64 random_;
  std::uint32_t threads_;
  SharedMemory shared_;
  Actor actor_{};
  std::array<std::uint32_t, 3> place_{};
  std::vector<std::unique_ptr<Warp>> warps_{};
  std::uint32_t ready_ = 0;  // warps that can run, a bit each
  std::array<Barrier, 16> barriers_{};
};

}  // namespace trireme::gpu
