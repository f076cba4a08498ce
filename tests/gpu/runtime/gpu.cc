#include "tests/gpu/runtime/gpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace trireme::gpu {
namespace {

std::atomic<Gpu*> made{nullptr};
std::atomic<std::uint64_t> launches{0};
std::atomic<bool> broken{false};
thread_local cudaError_t thread_error = cudaSuccess;

Races races() {
  const char* value = std::getenv("TRIREME_GPU_RACES");
  return value != nullptr && std::string(value) == "0" ? Races::kIgnored : Races::kReported;
}

std::size_t capacity(const Settings& settings) {
  return settings.memory_bytes * std::max<std::size_t>(visible_devices(settings).size(), 1);
}

}  // namespace

Gpu::Gpu()
    : settings(Settings::of_process()),
      devices(settings),
      global(capacity(settings), races()),
      streams(settings.seed),
      memory(global, streams, settings.memory_bytes, settings.held_bytes) {}

Gpu& Gpu::of_process() {
  static auto* const gpu = [] {
    auto* fresh = new Gpu;
    made = fresh;
    watch_end_of_process();
    watch_host_accesses();
    return fresh;
  }();
  return *gpu;
}

Gpu* Gpu::of_process_if_made() { return made; }

int& Gpu::current_device() {
  static thread_local int device = 0;
  return device;
}

Gpu& Gpu::ready() {
  fail_if_broken();
  if (current_device() == kInHostFunction)
    throw Refusal(cudaErrorNotPermitted, "a function given to cudaLaunchHostFunc may not call CUDA");
  devices.take(current_device());
  return *this;
}

void Gpu::fail_if_broken() const {
  if (broken)
    throw Refusal(static_cast<cudaError_t>(settings.sticky_code),
                  "the device failed before, as TRIREME_GPU_STICKY asked for; the process must end");
}

void Gpu::count_launch() {
  if (++launches == settings.sticky_launch) broken = true;
  fail_if_broken();
}

cudaError_t call_without_device(const char* function, const std::function<void(Gpu&)>& body) {
  try {
    body(Gpu::of_process());
    return cudaSuccess;
  } catch (const Refusal& refusal) {
    thread_error = refusal.code;
    if (refusal.code != cudaErrorNotReady)
      say(std::string(function) + " refused with error " + std::to_string(refusal.code) + ": " + refusal.what());
    return refusal.code;
  } catch (const std::exception& error) {
    end_with_finding(std::string(function) + ": " + error.what());
  }
}

cudaError_t call(const char* function, const std::function<void(Gpu&)>& body) {
  return call_without_device(function, [&](Gpu& gpu) { body(gpu.ready()); });
}

cudaError_t last_error(bool clear) {
  const cudaError_t error = broken ? static_cast<cudaError_t>(Settings::of_process().sticky_code) : thread_error;
  if (clear) thread_error = cudaSuccess;
  return error;
}

}  // namespace trireme::gpu
