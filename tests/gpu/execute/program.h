// A kernel and the device functions that it calls, decoded: code, the layout of a warp's registers, and what must be
// filled in when it is launched. Device functions lie before those that call them, so that lanes inside one run before
// lanes that wait behind the call. Their registers and locals are places of their own for each function: recursion is
// refused.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/gpu/execute/instruction.h"
#include "tests/gpu/ptx/module.h"

namespace trireme::gpu {

// Generic addresses: global memory has the program's own; the others lie where no program's addresses are.
inline constexpr std::uint64_t kSharedWindow = std::uint64_t{1} << 56;
inline constexpr std::uint64_t kLocalWindow = std::uint64_t{2} << 56;
inline constexpr std::uint64_t kParameterWindow = std::uint64_t{3} << 56;

enum class Special : std::uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneid,
  kWarpid,
  kNwarpid,
  kLanemaskEq,
  kLanemaskLt,
  kLanemaskLe,
  kLanemaskGt,
  kLanemaskGe,
  kDynamicShared
};

class Program {
 public:
  // The same value in all lanes.
  struct Constant {
    Slot slot = 0;
    std::uint8_t bytes = 4;
    std::uint64_t bits = 0;
  };
  // The address of a variable, known when the module has been loaded.
  struct Address {
    Slot slot = 0;
    std::string variable{};
    std::int64_t addend = 0;
  };

  const Function* kernel = nullptr;
  std::vector<Instruction> code{};
  std::uint32_t entry = 0;           // of `code`
  std::uint32_t register_bytes = 0;  // a warp
  std::uint32_t local_bytes = 0;     // a lane: .local and the .param of calls
  std::vector<Constant> constants{};
  std::vector<Address> addresses{};
  std::vector<std::pair<Special, Slot>> specials{};
  std::uint32_t dynamic_shared_offset = 0;
  std::vector<std::vector<std::uint32_t>> tables{};  // of brx.idx, by Instruction::target
};

}  // namespace trireme::gpu
