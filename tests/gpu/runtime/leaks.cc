// What is seen only from outside of any call: host code that follows a device pointer, and what a process leaves
// behind. The end is looked at when the library is closed, after the program's own exit handlers and static objects; a
// process that ends with an error of its own keeps its exit code.
#include <atomic>
#include <string>
#include <vector>

#include <signal.h>
#include <stdlib.h>

#include "tests/gpu/memory/fault.h"
#include "tests/gpu/runtime/counters.h"
#include "tests/gpu/runtime/gpu.h"

namespace trireme::gpu {
namespace {

std::atomic<int> exit_status{0};
struct sigaction previous_action;
std::vector<std::string (*)()>& other_leaks() {
  static auto* const all = new std::vector<std::string (*)()>;
  return *all;
}

void keep_status(int status, void*) { exit_status = status; }

void on_fault(int signal, siginfo_t* info, void* context) {
  if (Gpu* gpu = Gpu::of_process_if_made(); gpu != nullptr && gpu->global.owns(info->si_addr))
    end_with_finding("host code read or wrote device memory: " + gpu->global.place(info->si_addr) +
                     "; copy it with cudaMemcpyAsync");
  if (Gpu* gpu = Gpu::of_process_if_made(); gpu != nullptr && gpu->memory.may_try_again(info->si_addr)) return;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  } else {
    ::signal(signal, SIG_DFL);  // happens again, and ends the process as it would have
  }
}

__attribute__((destructor)) void at_end() {
  Gpu* gpu = Gpu::of_process_if_made();
  if (gpu == nullptr) return;
  gpu->streams.stop();
  report_counters();
  if (exit_status == 0) {
    std::string report;
    const auto add = [&](const std::string& more) {
      report.append(report.empty() || more.empty() ? "" : "; ").append(more);
    };
    add(gpu->memory.leaked());
    add(gpu->streams.leaked());
    for (const auto left_behind : other_leaks()) add(left_behind());
    if (!report.empty()) end_with_finding("left behind at exit: " + report);
  }
  Report::of_process().write();
}

}  // namespace

void look_for_leaks_too(std::string (*left_behind)()) { other_leaks().push_back(left_behind); }

void watch_end_of_process() { ::on_exit(keep_status, nullptr); }

void watch_host_accesses() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGSEGV, &action, &previous_action);
}

}  // namespace trireme::gpu
