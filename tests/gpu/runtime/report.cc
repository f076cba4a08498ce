#include "tests/gpu/runtime/report.h"

#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace trireme::gpu {

Report& Report::of_process() {
  static auto* const report = new Report;  // outlives every other object of the process
  return *report;
}

void Report::host_synchronised(const char* call) {
  const std::lock_guard lock(mutex_);
  ++synchronisations_[call];
}

void Report::count(const char* what) {
  const std::lock_guard lock(mutex_);
  ++counts_[what];
}

void Report::add_line(std::string json) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::move(json));
}

std::uint64_t Report::host_synchronisations() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [call, times] : synchronisations_) sum += times;
  return sum;
}

std::string Report::object(const char* name, const std::map<std::string, std::uint64_t>& counts) const {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  std::string text = "{\"report\": \"";
  text.append(name).append("\", \"pid\": ").append(std::to_string(::getpid()));
  text.append(", \"rank\": ").append(rank != nullptr ? rank : "0");
  for (const auto& [what, times] : counts)
    text.append(", \"").append(what).append("\": ").append(std::to_string(times));
  return text.append("}\n");
}

void Report::write() {
  const std::lock_guard lock(mutex_);
  const char* file = std::getenv("TRIREME_GPU_REPORT");
  if (written_ || file == nullptr || *file == '\0') return;
  written_ = true;
  std::string text = object("host_synchronisations", synchronisations_) + object("calls", counts_);
  for (const std::string& more : lines_) text.append(more).append("\n");
  const int descriptor = ::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return;
  const ssize_t written = ::write(descriptor, text.data(), text.size());  // one write: ranks append beside one another
  static_cast<void>(written);
  ::close(descriptor);
}

}  // namespace trireme::gpu
