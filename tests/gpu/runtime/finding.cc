#include "tests/gpu/runtime/finding.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <unistd.h>

#include "tests/gpu/memory/fault.h"
#include "tests/gpu/runtime/report.h"

namespace trireme::gpu {
namespace {

std::string line(const std::string& message) {
  std::string text = "gpu stand-in: ";
  if (const char* rank = std::getenv("OMPI_COMM_WORLD_RANK")) text.append("rank ").append(rank).append(": ");
  return text.append(message).append("\n");
}

// One write: the lines of several ranks and threads stay whole.
void print(const std::string& text) {
  const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(written);
}

}  // namespace

void end_with_finding(const std::string& message) {
  static std::mutex first;  // never given back: one finding ends the process, and a second thread's waits for the end
  first.lock();
  print(line(message));
  Report::of_process().write();
  std::fflush(nullptr);
  _exit(kFaultExitCode);
}

void say(const std::string& message) { print(line(message)); }

std::string hex(const void* address) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", address);
  return text;
}

}  // namespace trireme::gpu
