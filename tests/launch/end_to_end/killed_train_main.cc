// `trireme train` that kills itself: killed_train PHASE STEP RANK MICROSECONDS FILE [--set X]... enters PHASE of STEP
// on RANK, waits so long on another thread, and ends by SIGKILL, as by a machine that is gone.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "launch/train/run_training.h"
#include "monitoring/log.h"

namespace trireme {
namespace {

class Killer : public RunObserver {
 public:
  Killer(RunPhase phase, std::int64_t step, std::chrono::microseconds delay)
      : phase_(phase), step_(step), delay_(delay) {}

  void enter(RunPhase phase, std::int64_t step) override {
    if (phase != phase_ || step < step_ || armed_) return;
    armed_ = true;
    std::cerr << "killed_train: kills itself in " << kRunPhaseNames[static_cast<int>(phase)] << " of step " << step
              << std::endl;
    std::thread([delay = delay_] {
      std::this_thread::sleep_for(delay);
      std::raise(SIGKILL);
    }).detach();
  }

 private:
  RunPhase phase_;
  std::int64_t step_;
  std::chrono::microseconds delay_;
  bool armed_ = false;
};

int run(int argc, char** argv) {
  if (argc < 6) {
    std::cerr << "usage: killed_train PHASE STEP RANK MICROSECONDS FILE [--set X]...\n";
    return 2;
  }
  int phase = 0;
  while (phase < 6 && std::strcmp(kRunPhaseNames[phase], argv[1]) != 0) ++phase;
  Killer killer(static_cast<RunPhase>(phase), std::atoll(argv[2]), std::chrono::microseconds(std::atoll(argv[4])));
  std::vector<std::string> overrides;
  for (int i = 7; i < argc; i += 2) overrides.emplace_back(argv[i]);
  MpiWorld world;
  whereabouts().rank = world.rank();
  configure_log({.ranks = world.size()});
  const bool victim = world.rank() == std::atoi(argv[3]) % world.size();
  try {
    return static_cast<int>(
        run_training(world, load_run(argv[5], overrides, world.size()), victim ? &killer : nullptr));
  } catch (const Error& error) {
    std::cerr << error.what() << std::endl;
    if (world.size() > 1) world.abort(static_cast<int>(error.code()));
    return static_cast<int>(error.code());
  }
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::run(argc, argv); }
