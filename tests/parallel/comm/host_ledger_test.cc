#include "parallel/comm/host_ledger.h"

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Memory that a forked process shares.
class SharedLedger {
 public:
  explicit SharedLedger(int size)
      : bytes_(HostLedger::bytes(size)),
        memory_(
            static_cast<std::byte*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    HostLedger::prepare(memory_, size);
  }
  ~SharedLedger() { munmap(memory_, bytes_); }
  SharedLedger(const SharedLedger&) = delete;
  SharedLedger& operator=(const SharedLedger&) = delete;
  std::byte* memory() const { return memory_; }

 private:
  std::size_t bytes_;
  std::byte* memory_;
};

Call call_of(std::string_view tensor, std::int64_t step) {
  return make_call(Op::kAllReduce, {step, tensor}, DType::kF32, 400);
}

// Another process, at place 1 and rank 5, that does `work` and then waits to be killed.
pid_t process_that(std::byte* memory, void (*work)(HostLedger&, int line)) {
  const pid_t process = fork();
  if (process != 0) return process;
  HostLedger ledger(memory, 1, 2, 5);
  work(ledger, ledger.open_line());
  while (true) pause();
}

bool soon(const std::function<bool()>& condition, int tries = 1000) {
  for (int i = 0; i < tries && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

const Members kDp{"dp", {3, 5}};

// How the ledger of rank 3 reports the other's death, after `seen` of it.
std::string obituary_of(void (*work)(HostLedger&, int line), const std::string& seen) {
  const SharedLedger shared(2);
  HostLedger ledger(shared.memory(), 0, 2, 3);
  const pid_t process = process_that(shared.memory(), work);
  const Members none{"none", {}};
  EXPECT_TRUE(soon([&] { return ledger.elsewhere(none) == seen; })) << ledger.elsewhere(none);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ledger.watch();
  EXPECT_FALSE(ledger.anyone_died());
  kill(process, SIGKILL);
  waitpid(process, nullptr, 0);
  soon([&] { return ledger.anyone_died(); }, 100);
  return ledger.obituary();
}

TEST(HostLedger, SaysInWhichCallAProcessWasKilled) {
  EXPECT_THAT(obituary_of([](HostLedger& ledger, int line) { ledger.enter(line, call_of("w", 7), kDp); },
                          "rank 5 is in all_reduce of \"w\" (fp32, 400 bytes) in step 7 in dp"),
              AllOf(HasSubstr("rank 5 (process "),
                    HasSubstr(") died in all_reduce of \"w\" (fp32, 400 bytes) in step 7 in dp")));
}

TEST(HostLedger, SaysWhichCallWasTheLastOfAProcessThatWasKilledBetweenTwo) {
  EXPECT_THAT(obituary_of(
                  [](HostLedger& ledger, int line) {
                    for (int step : {7, 8}) {
                      ledger.enter(line, call_of("w", step), kDp);
                      ledger.leave(line);
                    }
                  },
                  ""),
              HasSubstr("died between calls; its last was all_reduce of \"w\" (fp32, 400 bytes) in step 8 in dp"));
  EXPECT_THAT(obituary_of([](HostLedger&, int) {}, ""), HasSubstr("died before its first call"));
}

TEST(HostLedger, AProcessThatSaysFarewellDidNotDie) {
  EXPECT_EQ(obituary_of([](HostLedger& ledger, int) { ledger.farewell(); }, ""), "");
}

TEST(HostLedger, SaysWhyTheFirstGaveUpToWhoeverHasWaitedForASecond) {
  const SharedLedger shared(3);
  HostLedger waiting(shared.memory(), 0, 3, 3), second(shared.memory(), 1, 3, 4), first(shared.memory(), 2, 3, 5);
  EXPECT_EQ(waiting.lost(std::chrono::hours(1)), "");
  first.give_up("ranks 5 and 6 make different calls");
  first.give_up("nothing came from rank 6");
  second.give_up("rank 5 gave up");
  EXPECT_EQ(waiting.lost(std::chrono::milliseconds(999)), "");
  EXPECT_EQ(waiting.lost(HostLedger::kPatience), "rank 5 gave up: ranks 5 and 6 make different calls");
  EXPECT_EQ(first.lost(HostLedger::kPatience), "rank 4 gave up: rank 5 gave up") << "of the others";
}

TEST(HostLedger, LeavesOutTheGroupThatAsks) {
  const SharedLedger shared(2);
  HostLedger mine(shared.memory(), 0, 2, 3), theirs(shared.memory(), 1, 2, 5);
  theirs.enter(theirs.open_line(), call_of("w", 1), kDp);
  theirs.enter(theirs.open_line(), call_of("y", 1), {"tp", {4, 5}});
  EXPECT_EQ(mine.elsewhere(kDp), "rank 5 is in all_reduce of \"y\" (fp32, 400 bytes) in step 1 in tp");
  EXPECT_THAT(mine.elsewhere({"dp", {0, 3}}), AllOf(HasSubstr("\"w\""), HasSubstr("\"y\"")));
}

}  // namespace
}  // namespace trireme
