#include "tests/gpu/runtime/counters.h"

#include <map>
#include <mutex>

#include <unistd.h>

#include "tests/gpu/runtime/report.h"

namespace trireme::gpu {
namespace {

struct Sum {
  std::uint64_t launches = 0;
  Counters counters{};
};

struct Sums {
  std::mutex mutex;
  std::map<std::string, Sum> by_kernel;
};

Sums& sums() {
  static auto* const all = new Sums;  // outlives every other object of the process
  return *all;
}

}  // namespace

void count(const std::string& kernel, const Counters& counters) {
  const std::lock_guard lock(sums().mutex);
  Sum& sum = sums().by_kernel[kernel];
  ++sum.launches;
  sum.counters += counters;
}

void report_counters() {
  const std::lock_guard lock(sums().mutex);
  for (const auto& [name, sum] : sums().by_kernel) {
    const Counters& counters = sum.counters;
    std::string line =
        "{\"report\": \"kernel\", \"pid\": " + std::to_string(::getpid()) + ", \"name\": \"" + name + "\"";
    const auto add = [&](const char* what, std::uint64_t value) {
      line.append(", \"").append(what).append("\": ").append(std::to_string(value));
    };
    add("launches", sum.launches);
    add("blocks", counters.blocks);
    add("warp_instructions", counters.warp_instructions);
    add("lane_instructions", counters.lane_instructions);
    add("global_bytes_read", counters.global_bytes_read);
    add("global_bytes_written", counters.global_bytes_written);
    add("global_sectors", counters.global_sectors);
    add("global_sectors_needed", counters.global_sectors_needed);
    add("shared_passes", counters.shared_passes);
    add("shared_passes_needed", counters.shared_passes_needed);
    add("mma", counters.mma);
    add("wide_accesses", counters.wide_accesses);
    add("global_accesses", counters.global_accesses);
    add("async_copies", counters.async_copies);
    add("local_accesses", counters.local_accesses);
    add("barriers", counters.barriers);
    Report::of_process().add_line(line.append("}"));
  }
}

}  // namespace trireme::gpu
