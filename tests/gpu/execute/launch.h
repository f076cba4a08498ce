// Runs one launch of a kernel from its PTX, on the CPU, and counts what it did. Threads run by warps of 32 lanes in
// lockstep while they agree; lanes that do not have program counters of their own, so divergence is what it is on a
// GPU. Blocks, and warps between waits, take turns in an order drawn from the seed.
//
// `decode` turns a kernel's text into models of instructions once; it throws Fault for what has no model. `run` throws
// Fault for what a check finds, naming kernel, PTX line, block, thread, address and allocation. A Program refers to its
// Module, which must outlive it. One launch at a time on a GlobalMemory.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/gpu/memory/global_memory.h"
#include "tests/gpu/ptx/module.h"

namespace trireme::gpu {

class Program;  // a kernel, decoded
std::shared_ptr<const Program> decode(const Module& module, const Function& kernel);

// What a device allows; as compute capability 8.0 by default.
struct Limits {
  std::uint32_t threads_per_block = 1024;
  std::array<std::uint32_t, 3> block{1024, 1024, 64};
  std::array<std::uint32_t, 3> grid{2147483647, 65535, 65535};
  std::uint32_t parameter_bytes = 4096;
  std::uint32_t shared_bytes = 48 * 1024;              // a block, static and dynamic, without asking
  std::uint32_t shared_bytes_on_request = 163 * 1024;  // after cudaFuncSetAttribute
};

struct Launch {
  std::shared_ptr<const Program> program{};
  std::array<std::uint32_t, 3> grid{1, 1, 1};
  std::array<std::uint32_t, 3> block{1, 1, 1};
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint32_t dynamic_shared_limit = 0;   // cudaFuncAttributeMaxDynamicSharedMemorySize, 0: never set
  std::span<const std::byte> parameters{};  // laid out as Function::parameters say
  // Where the module's global and constant variables lie on this device, by name (see `load_variables`).
  const std::map<std::string, std::byte*>* variables = nullptr;
};

// Allocates and fills a module's global and constant variables on a device, as loading it does.
std::map<std::string, std::byte*> load_variables(const Module& module, GlobalMemory& memory,
                                                 const Operation& operation);

// Why a driver would refuse the launch, in a sentence; nullopt: it would not.
std::optional<std::string> refusal(const Launch& launch, const Limits& limits = {});

// Of one launch. Warp instructions are counted once for the lanes that run together.
struct Counters {
  std::uint64_t blocks = 0;
  std::uint64_t warp_instructions = 0;
  std::uint64_t lane_instructions = 0;
  std::uint64_t global_bytes_read = 0;
  std::uint64_t global_bytes_written = 0;
  std::uint64_t global_sectors = 0;         // of 32 bytes, that warps asked for
  std::uint64_t global_sectors_needed = 0;  // had the same bytes lain side by side
  std::uint64_t shared_passes = 0;          // turns of shared memory; 16-byte accesses take four of a warp at least
  std::uint64_t shared_passes_needed = 0;   // without bank conflicts
  std::uint64_t mma = 0;                    // matrix instructions of a warp
  std::uint64_t wide_accesses = 0;          // 16 bytes a lane, by warps
  std::uint64_t global_accesses = 0;        // of any width, by warps
  std::uint64_t async_copies = 0;           // cp.async, by warps
  std::uint64_t local_accesses = 0;         // by warps
  std::uint64_t barriers = 0;               // of a block
  Counters& operator+=(const Counters& other);
};

Counters run(const Launch& launch, GlobalMemory& memory, const Operation& operation, std::uint64_t seed);

// The instruction models that a module's kernels use: opcode and modifiers, without hints ("ld.global.v4.u32"), each
// once. Those without a model are among them. tests/gpu/execute/coverage.h tells which of them the models' own tests
// exercise.
std::vector<std::string> models(const Module& module);

}  // namespace trireme::gpu
