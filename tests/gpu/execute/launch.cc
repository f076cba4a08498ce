#include "tests/gpu/execute/launch.h"

#include <cstring>
#include <numeric>
#include <sstream>

#include "tests/gpu/execute/block.h"
#include "tests/gpu/execute/program.h"

namespace trireme::gpu {
namespace {

// Of all devices: what the one at hand allows is for its driver to say.
constexpr Limits kAnyDevice{.parameter_bytes = 32764, .shared_bytes_on_request = 227 * 1024};
constexpr std::uint64_t kMostBlocks = std::uint64_t{1} << 26;

// Fisher and Yates, with a generator whose numbers the standard fixes.
std::vector<std::uint32_t> shuffled(std::uint32_t count, std::mt19937_64& random) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (std::uint32_t left = count; left > 1; --left) std::swap(order[left - 1], order[random() % left]);
  return order;
}

template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream out;
  static_cast<void>((out << ... << parts));
  return out.str();
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  blocks += other.blocks;
  warp_instructions += other.warp_instructions;
  lane_instructions += other.lane_instructions;
  global_bytes_read += other.global_bytes_read;
  global_bytes_written += other.global_bytes_written;
  global_sectors += other.global_sectors;
  global_sectors_needed += other.global_sectors_needed;
  shared_passes += other.shared_passes;
  shared_passes_needed += other.shared_passes_needed;
  mma += other.mma;
  wide_accesses += other.wide_accesses;
  global_accesses += other.global_accesses;
  async_copies += other.async_copies;
  local_accesses += other.local_accesses;
  barriers += other.barriers;
  return *this;
}

std::map<std::string, std::byte*> load_variables(const Module& module, GlobalMemory& memory,
                                                 const Operation& operation) {
  std::map<std::string, std::byte*> places;
  for (const auto& variable : module.variables) {
    if (variable.space != Space::kGlobal && variable.space != Space::kConst) continue;
    std::byte* place = memory.allocate(variable.bytes, "variable " + variable.name);
    if (place == nullptr) throw Fault(Finding::kLimit, "no memory for variable " + variable.name);
    std::byte* bytes = memory.write(operation, place, variable.bytes);
    std::memset(bytes, 0, variable.bytes);
    if (!variable.initial.empty()) std::memcpy(bytes, variable.initial.data(), variable.bytes);
    places[variable.name] = place;
  }
  for (const auto& variable : module.variables) {
    for (const auto& address : variable.addresses) {
      const auto target = places.find(address.name);
      if (target == places.end()) throw Fault(Finding::kBadPtx, variable.name + " points to unknown " + address.name);
      const std::byte* value = target->second + address.addend;
      std::memcpy(memory.write(operation, places.at(variable.name) + address.offset, 8), &value, 8);
    }
  }
  return places;
}

std::optional<std::string> refusal(const Launch& launch, const Limits& limits) {
  const Function& kernel = *launch.program->kernel;
  std::uint64_t threads = 1;
  for (std::size_t i = 0; i < 3; ++i) {
    if (launch.grid[i] == 0 || launch.block[i] == 0) return "an empty grid or block";
    if (launch.grid[i] > limits.grid[i])
      return sentence("grid[", i, "] = ", launch.grid[i], ", at most ", limits.grid[i]);
    if (launch.block[i] > limits.block[i]) {
      return sentence("block[", i, "] = ", launch.block[i], ", at most ", limits.block[i]);
    }
    threads *= launch.block[i];
  }
  const std::uint32_t most =
      kernel.max_threads == 0 ? limits.threads_per_block : std::min(kernel.max_threads, limits.threads_per_block);
  if (threads > most) return sentence(threads, " threads in a block of ", kernel.name, ", at most ", most);
  if (kernel.parameter_bytes > limits.parameter_bytes) {
    return sentence(kernel.parameter_bytes, " bytes of parameters, at most ", limits.parameter_bytes);
  }
  const std::uint64_t shared = std::uint64_t{kernel.static_shared_bytes} + launch.dynamic_shared_bytes;
  if (shared > limits.shared_bytes_on_request) {
    return sentence(shared, " bytes of shared memory, at most ", limits.shared_bytes_on_request);
  }
  if (shared > limits.shared_bytes && launch.dynamic_shared_bytes > launch.dynamic_shared_limit) {
    return sentence(shared, " bytes of shared memory, of which ", launch.dynamic_shared_bytes, " dynamic: beyond ",
                    limits.shared_bytes, " cudaFuncSetAttribute must have allowed it");
  }
  return std::nullopt;
}

Counters run(const Launch& launch, GlobalMemory& memory, const Operation& operation, std::uint64_t seed) {
  const Program& program = *launch.program;
  if (const auto why = refusal(launch, kAnyDevice))
    throw Fault(Finding::kLimit, "kernel " + program.kernel->name + ": " + *why);
  if (launch.parameters.size() < program.kernel->parameter_bytes) {
    throw Fault(Finding::kLimit, sentence("kernel ", program.kernel->name, ": ", launch.parameters.size(),
                                          " bytes of parameters, it takes ", program.kernel->parameter_bytes));
  }
  const std::uint64_t blocks = std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  if (blocks > kMostBlocks) {
    throw Fault(Finding::kLimit, sentence("kernel ", program.kernel->name, ": the stand-in runs at most ", kMostBlocks,
                                          " blocks, not ", blocks));
  }
  std::mt19937_64 random(seed ^ operation.number * 0x9E3779B97F4A7C15u);
  Counters counters;
  GlobalAccess global(memory, operation, static_cast<std::uint32_t>(blocks));
  Block block(launch, program, global, operation, memory.races() == Races::kReported, counters, random());
  for (const std::uint32_t index : shuffled(static_cast<std::uint32_t>(blocks), random)) block.run(index);
  return counters;
}

}  // namespace trireme::gpu
