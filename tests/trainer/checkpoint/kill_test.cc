// A process that saves without end, killed at random instants: what it leaves always loads, bit for bit.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/trainer/checkpoint/scratch.h"
#include "trainer/checkpoint/commit.h"

namespace trireme {
namespace {

// The values of a step are its own.
Model model_at(std::int64_t step) {
  return {.specs = small_model(true), .dtype = DType::kBF16, .seed = static_cast<std::uint64_t>(step), .step = step};
}

constexpr int kBetween = -1;

// What the child tells, in memory that outlives it.
struct Told {
  std::atomic<int> phase{kBetween};
  std::atomic<std::int64_t> committed{-1};  // finish() has returned for this step
};

// Tells the phase, and ends the process some time after it entered the one that it is to die in, for the nth time.
class Teller : public RunObserver {
 public:
  Teller(Told& told, int deadly, int times, std::chrono::microseconds delay)
      : told_(told), deadly_(deadly), times_(times), delay_(delay) {}

  void enter(RunPhase phase, std::int64_t) override {
    told_.phase = static_cast<int>(phase);
    if (static_cast<int>(phase) != deadly_ || --times_ != 0) return;
    std::thread([delay = delay_] {
      std::this_thread::sleep_for(delay);
      std::raise(SIGKILL);
    }).detach();
  }

 private:
  Told& told_;
  const int deadly_;
  std::atomic<int> times_;
  std::chrono::microseconds delay_;
};

[[noreturn]] void save_without_end(const std::filesystem::path& folder, std::int64_t first, int attempt, Teller& teller,
                                   Told& told) {
  for (std::int64_t step = first;; ++step) {
    LocalGroup group(1);
    LocalRank rank(group, 0, {});
    const Model model = model_at(step);
    HeldModel held(rank, model, alone(), HeldModel::Fill::kValues);
    CheckpointSaver saver(held.context(), rank.comm(), folder, {.keep_last = 1, .keep_every = 0}, attempt);
    saver.set_observer(&teller);
    saver.save(held.state());
    if (!saver.finish().error.empty()) _exit(1);
    told.committed = step;
    told.phase = kBetween;
  }
}

TEST(Kill, TheNewestCommitAlwaysLoadsBitForBit) {
  constexpr int kKills = 30;
  constexpr std::uint64_t kSeed = 20261122;
  std::mt19937_64 random(kSeed);
  const ScratchFolder folder;
  void* shared = mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  Told& told = *new (shared) Told;
  std::map<std::string, int> hit;
  std::chrono::microseconds save = std::chrono::milliseconds(50);  // as long as a save takes here, or this
  for (int i = 0; i < 3; ++i) {
    const auto began = std::chrono::steady_clock::now();
    ASSERT_EQ(save_model(folder.path(), model_at(1)).error, "");
    const auto took = std::chrono::steady_clock::now() - began;
    save = std::min(save, std::chrono::duration_cast<std::chrono::microseconds>(took));
  }
  std::int64_t last = 1;
  for (int kill = 0; kill < kKills; ++kill) {
    told.phase = kBetween;
    // Half of the kills at any instant of three saves, half soon after a phase that is drawn has begun for the nth
    // time.
    const bool aimed = kill % 2 == 1;
    const int phase = static_cast<int>(RunPhase::kSnapshot) + static_cast<int>(random() % 3);
    const int times = 1 + static_cast<int>(random() % 3);
    const std::chrono::microseconds delay(random() %
                                          static_cast<std::uint64_t>(aimed ? save.count() / 4 + 1 : 3 * save.count()));
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Teller teller(told, aimed ? phase : kBetween, times, delay);
      save_without_end(folder.path(), last + 1, kill + 1, teller, told);
    }
    if (!aimed) {
      std::this_thread::sleep_for(delay);
      ::kill(child, SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
    ++hit[told.phase < 0 ? "between" : kRunPhaseNames[told.phase]];

    const std::int64_t promised = std::max(last, told.committed.load());
    std::int64_t found = -1;
    for (const std::int64_t step : {promised + 1, promised})  // committed, and killed before it could say so
      if (found < 0 && std::filesystem::exists(folder.path() / checkpoint_name(step))) found = step;
    const Loaded loaded = load_model(folder.path(), model_at(found));
    ASSERT_EQ(loaded.step, found) << "kill " << kill << ", seed " << kSeed << ": " << loaded.damaged << loaded.refused;
    ASSERT_TRUE(loaded.passed_over.empty()) << loaded.passed_over[0].reason;
    last = loaded.step;
  }
  std::printf("seed %llu, %d kills, last step %lld, by phase:", static_cast<unsigned long long>(kSeed), kKills,
              static_cast<long long>(last));
  for (const auto& [name, count] : hit) std::printf(" %s %d", name.c_str(), count);
  std::printf("\n");
  EXPECT_GT(last, 1);
  munmap(shared, sizeof(Told));
}

}  // namespace
}  // namespace trireme
