#include "tests/gpu/runtime/settings.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {
namespace {

constexpr int kWrongSetting = 2;

[[noreturn]] void wrong(const char* name, const char* value, const char* allowed) {
  say(std::string(name).append("=").append(value).append(" is not a setting; give ").append(allowed));
  _exit(kWrongSetting);
}

// Leaves `result` alone where the variable is not set.
void number(const char* name, const char* allowed, auto& result) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return;
  char* end = nullptr;
  errno = 0;
  const unsigned long long parsed = std::strtoull(value, &end, 10);
  if (*end != '\0' || *value == '-' || errno != 0) wrong(name, value, allowed);
  result = static_cast<std::remove_reference_t<decltype(result)>>(parsed);
}

void sticky(Settings& settings) {
  const char* value = std::getenv("TRIREME_GPU_STICKY");
  if (value == nullptr || *value == '\0') return;
  char* end = nullptr;
  settings.sticky_code = static_cast<int>(std::strtol(value, &end, 10));
  if (*end == '@') settings.sticky_launch = std::strtoull(end + 1, &end, 10);
  if (*end != '\0' || settings.sticky_code <= 0 || settings.sticky_launch == 0)
    wrong("TRIREME_GPU_STICKY", value, "CODE@N: a cudaError_t and the number of a launch, from 1");
}

ComputeMode compute_mode() {
  const char* value = std::getenv("TRIREME_GPU_COMPUTE_MODE");
  if (value == nullptr || *value == '\0' || std::strcmp(value, "default") == 0) return ComputeMode::kDefault;
  if (std::strcmp(value, "exclusive") == 0) return ComputeMode::kExclusiveProcess;
  if (std::strcmp(value, "prohibited") == 0) return ComputeMode::kProhibited;
  wrong("TRIREME_GPU_COMPUTE_MODE", value, "default, exclusive or prohibited");
}

Settings read() {
  Settings settings;
  number("OMPI_COMM_WORLD_LOCAL_SIZE", "a number of processes", settings.devices);
  number("TRIREME_GPU_COUNT", "a number of devices", settings.devices);
  number("TRIREME_GPU_SEED", "a number", settings.seed);
  number("TRIREME_GPU_ARCH", "80, 90 or 100", settings.arch);
  number("TRIREME_GPU_MEMORY", "bytes", settings.memory_bytes);
  number("TRIREME_GPU_HELD", "bytes", settings.held_bytes);
  number("TRIREME_GPU_DRIVER", "a version as 13000", settings.driver_version);
  if (settings.arch != 80 && settings.arch != 90 && settings.arch != 100)
    wrong("TRIREME_GPU_ARCH", std::getenv("TRIREME_GPU_ARCH"), "80, 90 or 100");
  settings.compute_mode = compute_mode();
  sticky(settings);
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    settings.visible = visible;
    settings.visible_is_set = true;
  }
  return settings;
}

}  // namespace

const Settings& Settings::of_process() {
  static const auto* const settings = new Settings(read());
  return *settings;
}

}  // namespace trireme::gpu
