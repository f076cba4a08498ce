#include "launch/train/stop_signals.h"

#include <csignal>

namespace trireme {
namespace {

// A signal handler has nowhere else to write.
std::atomic<int> requested_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};

void on_signal(int signal) {
  if (signal == SIGINT && requested_signal.load() == SIGINT) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  requested_signal.store(signal);
}

}  // namespace

StopSignals::StopSignals() {
  requested_signal.store(0);
  for (const int signal : kSignals) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

const std::atomic<int>& StopSignals::requested() const { return requested_signal; }

}  // namespace trireme
