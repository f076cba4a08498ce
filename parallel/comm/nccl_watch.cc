#include "parallel/comm/nccl_watch.h"

#include <algorithm>
#include <utility>

#include "monitoring/error.h"
#include "monitoring/log.h"

namespace trireme {

using Clock = std::chrono::steady_clock;

struct NcclWatch::Line {
  NcclLink& link;
  const Members members;
  const int rank;    // in the group
  const int ledger;  // its line there
  struct Pending {
    Call call;
    std::vector<int> peers{};  // in the group; empty: all
    void* begun = nullptr;
    void* ended = nullptr;  // null: its caller is still putting it there
  };
  std::string text(const Pending& one) const {  // exchange of "activations" in step 7 in pp with rank 2
    std::string said = to_string(one.call, members);
    for (const int& peer : one.peers)
      said.append(&peer == one.peers.data() ? " with " : ", ").append(members.rank(peer));
    return said;
  }
  std::deque<Pending> pending{};
  bool inside = false;        // the stream has reached the first
  Clock::time_point since{};  // then
};

NcclWatch::NcclWatch(NcclLibrary& library, Device& device, HostLedger* ledger, std::chrono::milliseconds timeout,
                     std::function<void(const std::string&)> last_resort)
    : library_(library),
      device_(device),
      ledger_(ledger),
      timeout_(timeout),
      last_resort_(std::move(last_resort)),
      marks_(library.make_marks()),
      alarm_(device.create_stream(StreamKind::kCommunication, "alarm")),
      thread_([this, here = whereabouts()] {
        whereabouts() = here;
        look_out();
      }) {}

NcclWatch::~NcclWatch() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ended_.notify_all();
  thread_.join();
  if (fuse_.joinable()) fuse_.join();
  try {
    device_.destroy_stream(alarm_);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the failure, which was told
  }
}

std::shared_ptr<NcclWatch::Line> NcclWatch::open(NcclLink& link, const Members& members, int rank) {
  const std::lock_guard lock(mutex_);
  const int line = ledger_ == nullptr ? 0 : ledger_->open_line();
  return lines_.emplace_back(new Line{.link = link, .members = members, .rank = rank, .ledger = line});
}

void NcclWatch::close(Line& line) {
  const std::lock_guard lock(mutex_);
  for (const Line::Pending& call : line.pending)
    for (void* mark : {call.begun, call.ended})
      if (mark != nullptr) marks_->take_back(mark);
  if (ledger_ != nullptr && line.inside) ledger_->leave(line.ledger);
  std::erase_if(lines_, [&](const auto& each) { return each.get() == &line; });
}

void NcclWatch::begin(Line& line, const Call& call, Stream stream, std::vector<int> peers) {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw PeerError(failure_);
  line.pending.push_back({call, std::move(peers), marks_->put(stream)});
}

void NcclWatch::end(Line& line, Stream stream) {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw PeerError(failure_);
  line.pending.back().ended = marks_->put(stream);
}

void NcclWatch::check() {
  const std::lock_guard lock(mutex_);
  if (!failure_.empty()) throw PeerError(failure_);
}

void NcclWatch::fail(const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    raise(what);
  }
  check();
  std::abort();  // not reached: check has thrown
}

// The life of the watch.
void NcclWatch::look_out() {
  constexpr auto kNap = std::chrono::milliseconds(2);
  library_.use_device();
  std::unique_lock lock(mutex_);
  while (!ending_ && failure_.empty()) {
    try {
      for (const auto& line : lines_) look_at(*line);
    } catch (const std::exception& error) {
      raise(error.what());
    }
    ended_.wait_for(lock, kNap);
  }
}

void NcclWatch::look_at(Line& line) {
  while (!line.pending.empty()) {
    Line::Pending& first = line.pending.front();
    if (!line.inside && marks_->passed(first.begun)) {
      line.inside = true;
      line.since = Clock::now();
      if (ledger_ != nullptr) ledger_->enter(line.ledger, first.call, line.members);
    }
    if (!line.inside || first.ended == nullptr || !marks_->passed(first.ended)) break;
    if (ledger_ != nullptr) ledger_->leave(line.ledger);
    for (void* mark : {first.begun, first.ended}) marks_->take_back(mark);
    line.pending.pop_front();
    line.inside = false;
  }

  const auto place = [&] {
    return line.pending.empty() ? "in the group " + line.members.group : "in " + line.text(line.pending.front());
  };
  const auto waited = line.inside ? Clock::now() - line.since : Clock::duration(0);
  const std::string lost = ledger_ == nullptr ? "" : ledger_->lost(waited);
  if (!lost.empty()) {
    raise(lost + ". " + line.members.rank(line.rank) + " was " + place());
    return;
  }
  std::string why;
  if (line.link.state(why) == NcclLink::State::kFailed) {
    raise("NCCL failed on " + line.members.rank(line.rank) + " " + place() + ": " + why + others(line, {}));
    return;
  }
  if (!line.inside) return;
  const Call& call = line.pending.front().call;
  if (ledger_ != nullptr && call.number > 0)
    for (const HostLedger::Standing& other : ledger_->standing(line.members))
      if (other.call.number == call.number && !(other.call == call)) {
        raise(line.members.ranks_of(line.rank, other.member) + " make different calls. " +
              line.members.rank(line.rank) + " is in " + to_string(call, line.members) + others(line, call));
        return;
      }
  if (waited > timeout_)
    raise(line.members.rank(line.rank) + " has waited for " + std::to_string(timeout_.count()) + " ms in " +
          line.text(line.pending.front()) + others(line, call, line.pending.front().peers));
}

// "; rank 1 is in broadcast of ...; rank 2 has not come, its last call was ...": of the group's ranks on this host, and
// what they do elsewhere.
std::string NcclWatch::others(const Line& line, const Call& call, const std::vector<int>& peers) const {
  if (ledger_ == nullptr) return "";
  std::string text;
  for (const HostLedger::Standing& other : ledger_->standing(line.members)) {
    if (other.member == line.rank) continue;
    if (!peers.empty() && std::find(peers.begin(), peers.end(), other.member) == peers.end()) continue;
    text += "; " + line.members.rank(other.member);
    if (other.call.op == Op::kNone)
      text += " has made no call yet";
    else if (other.inside)
      text += " is in " + to_string(other.call, line.members);
    else
      text += std::string(call.op == Op::kNone ? " made" : " has not come, and made") + " its last call, " +
              to_string(other.call, line.members);
  }
  const std::string elsewhere = ledger_->elsewhere(line.members);
  return elsewhere.empty() ? text : text + ". Elsewhere " + elsewhere;
}

// With the lock held. The alarm goes off first: whoever wakes when the links are gone shall find it.
void NcclWatch::raise(const std::string& what) {
  if (!failure_.empty()) return;
  failure_ = what;
  if (ledger_ != nullptr) ledger_->give_up(what);
  fuse_ = std::thread([this, what] {
    std::unique_lock lock(mutex_);
    const auto end = Clock::now() + kPatience;
    while (!ending_ && Clock::now() < end) ended_.wait_until(lock, end);
    if (!ending_ && last_resort_) last_resort_(what);
  });
  try {
    device_.run(alarm_, [what] { throw PeerError(what); });
    device_.synchronize(alarm_);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it is what was to be thrown
  }
  for (const auto& line : lines_) line->link.abort();
}

}  // namespace trireme
