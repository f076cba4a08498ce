#include "parallel/comm/host_ledger.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "monitoring/log.h"

namespace trireme {

struct HostLedger::Written {
  char group[32] = {};
  std::uint64_t number = 0;  // of the process's calls
  std::uint64_t inside = 0;  // 0: it has returned
  Call call;                 // a broadcast's root as rank of the world
};

struct HostLedger::Line {
  static constexpr std::size_t kWords = sizeof(Written) / sizeof(std::uint64_t);
  static_assert(sizeof(Written) % sizeof(std::uint64_t) == 0);

  std::atomic<std::uint32_t> version{0};  // odd while the words change
  std::array<std::atomic<std::uint64_t>, kWords> words{};
};

struct alignas(128) HostLedger::Entry {
  enum State : int { kAbsent, kHere, kGoing };
  std::atomic<int> state{kAbsent};
  std::atomic<int> rank{-1};
  std::atomic<std::int64_t> process{0};
  std::atomic<std::uint64_t> pid_namespace{0};
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::int64_t> gave_up{0};  // when, in nanoseconds of the host's steady clock; 0: it did not
  char why[1024] = {};                   // written before that
  Line lines[kLines];
};

namespace {

std::uint64_t pid_namespace() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? static_cast<std::uint64_t>(status.st_ino) : 0;
}

int open_process(std::int64_t process) { return static_cast<int>(syscall(SYS_pidfd_open, process, 0)); }

std::string place_of(const Call& call, const char* group) {
  // The root of a broadcast stands as rank of the world already.
  Members members = Members::world(call.op == Op::kBroadcast ? call.detail + 1 : 0);
  members.group = group;
  return to_string(call, members);
}

}  // namespace

std::size_t HostLedger::bytes(int size) { return static_cast<std::size_t>(size) * sizeof(Entry); }

void HostLedger::prepare(std::byte* memory, int size) {
  for (int place = 0; place < size; ++place) new (memory + bytes(place)) Entry;
}

HostLedger::Entry& HostLedger::entry(int place) const {
  return *std::launder(reinterpret_cast<Entry*>(memory_ + bytes(place)));
}

HostLedger::HostLedger(std::byte* memory, int place, int size, int rank)
    : memory_(memory), place_(place), size_(size), rank_(rank) {
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % alignof(Entry) == 0, "a ledger at an odd address");
  Entry& mine = entry(place);
  mine.rank = rank;
  mine.process = getpid();
  mine.pid_namespace = pid_namespace();
  mine.state = Entry::kHere;
}

HostLedger::~HostLedger() {
  if (watcher_.joinable()) {
    eventfd_write(wake_, 1);
    watcher_.join();
  }
  for (int process : processes_)
    if (process >= 0) close(process);
  if (wake_ >= 0) close(wake_);
}

void HostLedger::watch() {
  CHECK(wake_ < 0, "the watch begins twice");
  wake_ = eventfd(0, EFD_CLOEXEC);
  if (wake_ < 0) return;
  for (int place = 0; place < size_; ++place) {
    const Entry& other = entry(place);
    const bool known = place != place_ && other.pid_namespace == entry(place_).pid_namespace;
    processes_.push_back(known ? open_process(other.process) : -1);
    if (known && processes_.back() < 0 && errno == ESRCH && other.state == Entry::kHere) bury(place);
  }
  watcher_ = std::thread([this] { look_out(); });
}

void HostLedger::farewell() { entry(place_).state = Entry::kGoing; }

// The life of the watcher. A pidfd is readable when its process has ended.
void HostLedger::look_out() {
  whereabouts().rank = rank_;
  std::vector<pollfd> watched;
  for (int process : processes_) watched.push_back({process, POLLIN, 0});
  watched.push_back({wake_, POLLIN, 0});
  while (true) {
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched.back().revents != 0) return;
    for (int place = 0; place < size_; ++place) {
      pollfd& process = watched[static_cast<std::size_t>(place)];
      if (process.fd < 0 || process.revents == 0) continue;
      process.fd = -1;
      if (entry(place).state == Entry::kHere) bury(place);
    }
  }
}

void HostLedger::bury(int place) {
  const Entry& dead = entry(place);
  Written last;
  std::string text = "rank " + std::to_string(dead.rank) + " (process " + std::to_string(dead.process) + ") died";
  std::string inside;
  for (const Line& line : dead.lines) {
    const Written written = read(line);
    if (written.inside != 0) inside += (inside.empty() ? " in " : " and in ") + place_of(written.call, written.group);
    if (written.number > last.number) last = written;
  }
  if (!inside.empty())
    text += inside;
  else
    text +=
        last.number == 0 ? " before its first call" : " between calls; its last was " + place_of(last.call, last.group);
  {
    const std::lock_guard lock(mutex_);
    if (!obituary_.empty()) return;  // the first to die is the cause
    obituary_ = text;
  }
  died_ = true;
  // One of the living says it at once, for they may all be far from their next call.
  for (int other = 0; other < place_; ++other)
    if (other != place && entry(other).state == Entry::kHere) return;
  log_error("{}. See its own last lines, and the kernel's log if it was killed for memory", text);
}

std::string HostLedger::obituary() const {
  const std::lock_guard lock(mutex_);
  return obituary_;
}

void HostLedger::give_up(std::string_view why) {
  const std::lock_guard lock(mutex_);
  Entry& mine = entry(place_);
  if (mine.gave_up != 0) return;
  why.copy(mine.why, sizeof mine.why - 1);
  mine.gave_up = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string HostLedger::lost(std::chrono::steady_clock::duration waited) const {
  if (anyone_died()) return obituary();
  if (waited < kPatience) return "";
  const Entry* first = nullptr;
  for (int place = 0; place < size_; ++place) {
    const Entry& other = entry(place);
    if (place == place_ || other.gave_up == 0) continue;
    if (first == nullptr || other.gave_up < first->gave_up) first = &other;
  }
  return first == nullptr ? "" : "rank " + std::to_string(first->rank) + " gave up: " + first->why;
}

int HostLedger::open_line() { return std::min(lines_++, kLines - 1); }

void HostLedger::enter(int line, const Call& call, const Members& members) {
  Written written;
  members.group.copy(written.group, sizeof written.group - 1);
  written.number = ++entry(place_).calls;
  written.inside = 1;
  written.call = call;
  if (call.op == Op::kBroadcast) written.call.detail = members.ranks.at(static_cast<std::size_t>(call.detail));
  std::array<std::uint64_t, Line::kWords> words;
  std::memcpy(words.data(), &written, sizeof written);
  Line& to = entry(place_).lines[line];
  ++to.version;
  for (std::size_t i = 0; i < words.size(); ++i) to.words[i] = words[i];
  ++to.version;
}

void HostLedger::leave(int line) {
  Line& to = entry(place_).lines[line];
  ++to.version;
  to.words[offsetof(Written, inside) / sizeof(std::uint64_t)] = 0;
  ++to.version;
}

HostLedger::Written HostLedger::read(const Line& line) {
  std::array<std::uint64_t, Line::kWords> words{};
  for (int tries = 0; tries < 1000; ++tries) {  // its writer may have died within
    const std::uint32_t version = line.version;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = line.words[i];
    if (version % 2 == 0 && line.version == version) break;
  }
  Written written;
  std::memcpy(static_cast<void*>(&written), words.data(), sizeof written);
  written.group[sizeof written.group - 1] = 0;
  return written;
}

std::string HostLedger::elsewhere(const Members& members) const {
  std::string text;
  for (int place = 0; place < size_; ++place) {
    const int rank = entry(place).rank;
    const bool member = std::find(members.ranks.begin(), members.ranks.end(), rank) != members.ranks.end();
    for (const Line& line : entry(place).lines) {
      const Written written = read(line);
      if (written.inside == 0 || (member && members.group == written.group)) continue;
      text += (text.empty() ? "rank " : "; rank ") + std::to_string(rank) + " is in " +
              place_of(written.call, written.group);
    }
  }
  return text;
}

std::vector<HostLedger::Standing> HostLedger::standing(const Members& members) const {
  std::vector<Standing> all;
  const auto member_of = [&](int rank) {
    return static_cast<int>(std::find(members.ranks.begin(), members.ranks.end(), rank) - members.ranks.begin());
  };
  for (int place = 0; place < size_; ++place) {
    Standing here{.member = member_of(entry(place).rank)};
    if (here.member == members.size()) continue;
    std::uint64_t latest = 0;
    for (const Line& line : entry(place).lines) {
      const Written written = read(line);
      if (members.group != written.group || written.number <= latest) continue;
      latest = written.number;
      here.inside = written.inside != 0;
      here.call = written.call;
      if (here.call.op == Op::kBroadcast) here.call.detail = member_of(here.call.detail);
    }
    all.push_back(here);
  }
  return all;
}

}  // namespace trireme
