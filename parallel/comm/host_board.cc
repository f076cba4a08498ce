#include "parallel/comm/host_board.h"

#include <algorithm>
#include <climits>
#include <ctime>
#include <new>
#include <thread>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitoring/error.h"

namespace trireme {

struct alignas(128) HostBoard::Seat {
  std::atomic<std::uint64_t> entered{0};
  std::atomic<std::uint64_t> passed{0};
  std::atomic<bool> left{false};
  Call calls[2];  // call k in place k % 2
};

struct alignas(128) HostBoard::Shared {
  std::atomic<std::uint32_t> bell{0};  // changes when anything has
  std::atomic<std::uint32_t> sleepers{0};
};

namespace {

long futex(std::atomic<std::uint32_t>& word, int op, std::uint32_t value, const timespec* timeout) {
  static_assert(sizeof(word) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), op, value, timeout, nullptr, 0);
}

}  // namespace

std::size_t HostBoard::bytes(int size) { return sizeof(Shared) + static_cast<std::size_t>(size) * sizeof(Seat); }

void HostBoard::prepare(std::byte* memory, int size) {
  new (memory) Shared;
  for (int rank = 0; rank < size; ++rank)
    new (memory + sizeof(Shared) + static_cast<std::size_t>(rank) * sizeof(Seat)) Seat;
}

HostBoard::HostBoard(std::byte* memory, int rank, int size, std::chrono::milliseconds timeout)
    : shared_(reinterpret_cast<Shared*>(memory)), rank_(rank), size_(size), timeout_(timeout) {
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % alignof(Seat) == 0, "a board at an odd address");
}

HostBoard::~HostBoard() {
  seat(rank_).left = true;
  ring();
}

HostBoard::Seat& HostBoard::seat(int rank) const {
  return reinterpret_cast<Seat*>(reinterpret_cast<std::byte*>(shared_) + sizeof(Shared))[rank];
}

const Call& HostBoard::call_of(int rank) const { return seat(rank).calls[seat(rank).entered.load() % 2]; }

void HostBoard::ring() {
  shared_->bell.fetch_add(1);
  if (shared_->sleepers.load() > 0) futex(shared_->bell, FUTEX_WAKE, INT_MAX, nullptr);
}

void HostBoard::fail(const std::string& what) {
  const std::uint64_t mine = seat(rank_).entered;
  std::string text = what + ". ";
  for (int rank = 0; rank < size_; ++rank) {
    const std::uint64_t theirs = seat(rank).entered;
    text += (rank ? "; rank " : "rank ") + std::to_string(rank);
    if (theirs >= mine)
      text += " is in " + to_string(seat(rank).calls[mine % 2]);
    else if (seat(rank).left)
      text += " left";
    else
      text += theirs == 0 ? " has made no call yet" : " has not come; its last call was " + to_string(call_of(rank));
  }
  throw PeerError(text);
}

// Looks for `patience` before it sleeps: a peer that is nearly here costs no wake-up.
void HostBoard::await(std::chrono::microseconds patience, const std::function<bool()>& ready) {
  const auto begin = std::chrono::steady_clock::now();
  do {
    if (ready()) return;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() - begin < patience);
  const auto deadline = begin + timeout_;
  const timespec nap{0, 50'000'000};  // 50 ms; the bell ends it earlier
  while (true) {
    ++shared_->sleepers;
    const std::uint32_t bell = shared_->bell;
    const bool now = ready();
    if (!now) futex(shared_->bell, FUTEX_WAIT, bell, &nap);
    --shared_->sleepers;
    if (now) return;
    if (std::chrono::steady_clock::now() > deadline && !ready())
      fail("rank " + std::to_string(rank_) + " has waited for " + std::to_string(timeout_.count()) + " ms");
  }
}

void HostBoard::meet(const Call& call) {
  Seat& mine = seat(rank_);
  const std::uint64_t number = mine.entered + 1;
  mine.calls[number % 2] = call;
  mine.entered = number;
  ring();
  await(std::chrono::microseconds(5), [&] {
    bool all = true;
    for (int rank = 0; rank < size_; ++rank) {
      const Seat& other = seat(rank);
      const bool gone = other.left;  // read first: a rank may come and then leave
      if (other.entered < number) {
        if (gone) fail("rank " + std::to_string(rank_) + " waits for rank " + std::to_string(rank) + ", which left");
        all = false;
      } else if (!(other.calls[number % 2] == call)) {
        fail("ranks " + std::to_string(std::min(rank, rank_)) + " and " + std::to_string(std::max(rank, rank_)) +
             " make different calls");
      }
    }
    return all;
  });
}

void HostBoard::barrier() {
  Seat& mine = seat(rank_);
  const std::uint64_t number = mine.passed + 1;
  mine.passed = number;
  ring();
  int here = 0;
  await(std::chrono::microseconds(100), [&] {
    while (here < size_) {
      const bool gone = seat(here).left;
      if (seat(here).passed < number) {
        if (!gone) return false;
        fail("rank " + std::to_string(here) + " left within a call that rank " + std::to_string(rank_) + " is in");
      }
      ++here;
    }
    return true;
  });
}

}  // namespace trireme
