#include "parallel/comm/host_board.h"

#include <algorithm>
#include <climits>
#include <ctime>
#include <new>
#include <thread>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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

// Lets the other thread of the core go first for a moment.
void relax() {
#if defined(__SSE2__)
  for (int i = 0; i < 16; ++i) _mm_pause();
#else
  std::this_thread::yield();
#endif
}

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

HostBoard::HostBoard(std::byte* memory, int rank, Members members, std::chrono::milliseconds timeout,
                     const HostLedger* ledger)
    : shared_(reinterpret_cast<Shared*>(memory)),
      rank_(rank),
      members_(std::move(members)),
      timeout_(timeout),
      ledger_(ledger) {
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
  for (int rank = 0; rank < size(); ++rank) {
    const std::uint64_t theirs = seat(rank).entered;
    text += (rank ? "; " : "") + members_.rank(rank);
    if (theirs >= mine)
      text += " is in " + to_string(seat(rank).calls[mine % 2], members_);
    else if (seat(rank).left)
      text += " left";
    else
      text += theirs == 0 ? " has made no call yet"
                          : " has not come; its last call was " + to_string(call_of(rank), members_);
  }
  const std::string elsewhere = ledger_ == nullptr ? "" : ledger_->elsewhere(members_);
  if (!elsewhere.empty()) text += ". Elsewhere " + elsewhere;
  throw PeerError(text);
}

void HostBoard::lost(int rank, const std::string& why) {
  constexpr std::chrono::milliseconds kSoon(10), kNoted(1000);  // a death is known by then
  for (auto waited = kSoon; waited < kNoted && ledger_ != nullptr && !ledger_->anyone_died(); waited += kSoon)
    std::this_thread::sleep_for(kSoon);
  if (ledger_ != nullptr && ledger_->anyone_died()) fail(ledger_->obituary());
  fail(members_.rank(rank_) + " does not reach the memory of " + members_.rank(rank) + ": " + why);
}

// Looks for a moment before it sleeps: a peer that is nearly here costs no wake-up. It does not yield meanwhile: that
// would give the core away for milliseconds where others want it.
void HostBoard::await(const std::function<bool()>& ready) {
  const bool crowded = size() > static_cast<int>(std::thread::hardware_concurrency());
  const std::chrono::microseconds patience(crowded ? 0 : 50);
  const auto begin = std::chrono::steady_clock::now();
  do {
    if (ready()) return;
    relax();
  } while (std::chrono::steady_clock::now() - begin < patience);
  const timespec nap{0, 50'000'000};  // 50 ms; the bell ends it earlier, but the dead ring none
  while (true) {
    ++shared_->sleepers;
    const std::uint32_t bell = shared_->bell;
    const bool now = ready();
    if (!now) futex(shared_->bell, FUTEX_WAIT, bell, &nap);
    --shared_->sleepers;
    if (now) return;
    const auto waited = std::chrono::steady_clock::now() - begin;
    const std::string lost = ledger_ == nullptr ? "" : ledger_->lost(waited);
    if (!lost.empty() && !ready()) fail(lost);
    if (waited > timeout_ && !ready())
      fail(members_.rank(rank_) + " has waited for " + std::to_string(timeout_.count()) + " ms");
  }
}

void HostBoard::meet(const Call& call) {
  Seat& mine = seat(rank_);
  const std::uint64_t number = mine.entered + 1;
  mine.calls[number % 2] = call;
  mine.entered = number;
  ring();
  await([&] {
    bool all = true;
    for (int rank = 0; rank < size(); ++rank) {
      const Seat& other = seat(rank);
      const bool gone = other.left;  // read first: a rank may come and then leave
      if (other.entered < number) {
        if (gone) fail(members_.rank(rank_) + " waits for " + members_.rank(rank) + ", which left");
        all = false;
      } else if (!(other.calls[number % 2] == call)) {
        fail(members_.ranks_of(rank, rank_) + " make different calls");
      }
    }
    return all;
  });
}

std::uint64_t HostBoard::passed() const { return seat(rank_).passed.load(); }

std::uint64_t HostBoard::pass() {
  const std::uint64_t number = ++seat(rank_).passed;
  ring();
  return number;
}

void HostBoard::await_all(std::uint64_t number) {
  int here = 0;
  await([&] {
    while (here < size()) {
      const bool gone = seat(here).left;
      if (seat(here).passed < number) {
        if (!gone) return false;
        fail(members_.rank(here) + " left within a call that " + members_.rank(rank_) + " is in");
      }
      ++here;
    }
    return true;
  });
}

}  // namespace trireme
