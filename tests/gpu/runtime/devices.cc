#include "tests/gpu/runtime/devices.h"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {
namespace {

constexpr int kRuntimeVersion = 13000;

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// -1: names no device.
int device_named(const std::string& entry, int devices) {
  if (entry.rfind("GPU-", 0) == 0) {
    int found = -1;
    for (int device = 0; device < devices; ++device)
      if (uuid_of(device).rfind(entry, 0) == 0) found = found < 0 ? device : devices;  // two of them: ambiguous
    return found < devices ? found : -1;
  }
  char* end = nullptr;
  const long index = std::strtol(entry.c_str(), &end, 10);
  return entry.empty() || *end != '\0' || index < 0 || index >= devices ? -1 : static_cast<int>(index);
}

// A name that only one process of a job can bind, and that is free again when it ends, however it ends.
bool bind_name(int physical_device) {
  const char* job = std::getenv("PMIX_NAMESPACE");
  const std::string name = std::string("trireme-gpu-")
                               .append(job != nullptr ? job : std::to_string(::getsid(0)))
                               .append("-")
                               .append(std::to_string(physical_device));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), std::min(name.size(), sizeof address.sun_path - 1));
  const int held = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return ::bind(held, reinterpret_cast<const sockaddr*>(&address), length) == 0;  // stays open
}

}  // namespace

DeviceLimits limits_of(int arch) {
  DeviceLimits limits;
  limits.multiprocessors = arch == 80 ? 108 : arch == 90 ? 132 : 148;
  limits.shared_bytes_opt_in = arch == 80 ? 163 << 10 : 227 << 10;
  limits.shared_bytes_per_multiprocessor = arch == 80 ? 164 << 10 : 228 << 10;
  return limits;
}

std::string uuid_of(int physical_device) {
  char text[64];
  std::snprintf(text, sizeof text, "GPU-%08x-7472-6972-656d-650000000000", 0x51a40000U + unsigned(physical_device));
  return text;
}

std::vector<int> visible_devices(const Settings& settings) {
  std::vector<int> devices;
  if (!settings.visible_is_set) {
    for (int device = 0; device < settings.devices; ++device) devices.push_back(device);
    return devices;
  }
  std::istringstream entries(settings.visible);
  std::set<int> seen;
  for (std::string entry; std::getline(entries, entry, ',');) {
    const int device = device_named(trimmed(entry), settings.devices);
    if (device < 0) break;
    if (!seen.insert(device).second) return {};
    devices.push_back(device);
  }
  return devices;
}

Devices::Devices(const Settings& settings)
    : settings_(settings),
      limits_(limits_of(settings.arch)),
      visible_(visible_devices(settings)),
      taken_(visible_.size()) {}

int Devices::count() const {
  if (settings_.driver_version == 0) throw Refusal(cudaErrorInsufficientDriver, "no driver is installed");
  if (settings_.driver_version < kRuntimeVersion)
    throw Refusal(cudaErrorInsufficientDriver,
                  "the driver supports CUDA " + std::to_string(settings_.driver_version / 1000) + "." +
                      std::to_string(settings_.driver_version % 1000 / 10) + ", this program needs 13.0");
  if (visible_.empty())
    throw Refusal(cudaErrorNoDevice, settings_.visible_is_set
                                         ? "CUDA_VISIBLE_DEVICES=" + settings_.visible + " leaves no device of " +
                                               std::to_string(settings_.devices)
                                         : std::string("the machine has no device"));
  return static_cast<int>(visible_.size());
}

int Devices::physical(int device) const {
  if (device < 0 || device >= count())
    throw Refusal(cudaErrorInvalidDevice,
                  "there is no device " + std::to_string(device) + " among " + std::to_string(count()));
  return visible_[static_cast<std::size_t>(device)];
}

void Devices::take(int device) {
  const int here = physical(device);
  const std::lock_guard lock(mutex_);
  if (taken_[static_cast<std::size_t>(device)]) return;
  if (settings_.compute_mode == ComputeMode::kProhibited)
    throw Refusal(cudaErrorDevicesUnavailable, "the compute mode of device " + std::to_string(here) + " is prohibited");
  if (settings_.compute_mode == ComputeMode::kExclusiveProcess && !bind_name(here))
    throw Refusal(cudaErrorDevicesUnavailable,
                  "the compute mode of device " + std::to_string(here) + " is exclusive, and another process has it");
  taken_[static_cast<std::size_t>(device)] = true;
}

}  // namespace trireme::gpu
