#include "parallel/check/call_match.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <utility>

#include "monitoring/check.h"

namespace trireme {
namespace {

constexpr std::size_t kMostProblems = 8;

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

// A call that has begun and waits for its peers.
struct Begun {
  std::size_t rank = 0;  // index into the ranks given
  int call = -1;
  std::size_t missing = 0;  // transfers that have not met
};

class Matcher {
 public:
  explicit Matcher(std::span<const RankCalls> ranks) : ranks_(ranks), states_(ranks.size()) {
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      index_[ranks[i].rank] = i;
      CHECK(ranks[i].before.size() == ranks[i].calls.size(), rank_text(ranks[i].rank), " has no order of its calls");
    }
    for (std::size_t i = 0; i < ranks.size(); ++i) enter_groups(i);
  }

  std::vector<std::string> run() {
    for (std::size_t i = 0; i < ranks_.size(); ++i) ready_.push_back(i);
    while (!ready_.empty() && problems_.empty()) {
      const std::size_t rank = ready_.front();
      ready_.pop_front();
      states_[rank].queued = false;
      advance(rank);
    }
    if (problems_.empty()) report_waiting();
    return std::move(problems_);
  }

 private:
  struct Stream {
    std::vector<int> calls;
    std::size_t next = 0;  // to begin
    int ended = -1;        // the last that has
    bool busy = false;     // with `begun`
    Begun begun;
  };
  struct Rank {
    std::array<Stream, kMostStreams> streams;
    std::map<std::string, std::size_t, std::less<>> groups;  // name -> index into groups_
    bool queued = true;
  };
  struct Message {
    Begun* call = nullptr;
    RecordedTransfer transfer;
  };
  struct Pair {
    std::deque<Message> sent, awaited;
  };
  struct Group {
    std::string name;
    std::vector<int> ranks;                     // of the world
    std::size_t present = 0;                    // of them, among the ranks given
    std::vector<Begun*> arrived;                // at the collective that is being formed
    std::map<std::pair<int, int>, Pair> pairs;  // (from, to), members
  };

  const RecordedCall& call_of(const Begun& begun) const {
    return ranks_[begun.rank].calls[static_cast<std::size_t>(begun.call)];
  }

  void enter_groups(std::size_t rank) {
    for (const RecordedGroup& group : ranks_[rank].groups) {
      const auto [found, made] = group_index_.try_emplace(std::pair(group.name, group.ranks), groups_.size());
      if (made) {
        groups_.push_back({group.name, group.ranks, 0, {}, {}});
        for (int member : group.ranks) groups_.back().present += index_.contains(member);
      }
      states_[rank].groups[group.name] = found->second;
    }
    for (std::size_t call = 0; call < ranks_[rank].calls.size(); ++call)
      states_[rank].streams.at(stream_of(rank, call)).calls.push_back(static_cast<int>(call));
  }
  std::size_t stream_of(std::size_t rank, std::size_t call) const {
    return static_cast<std::size_t>(ranks_[rank].calls[call].stream);
  }

  // Begins what can begin on each of the rank's streams.
  void advance(std::size_t rank) {
    for (Stream& stream : states_[rank].streams) {
      if (stream.busy || stream.next == stream.calls.size()) continue;
      const int call = stream.calls[stream.next];
      if (!may_begin(rank, call)) continue;
      stream.busy = true;
      ++stream.next;
      stream.begun = {rank, call, 0};
      begin(stream.begun);
      if (!problems_.empty()) return;
    }
  }

  bool may_begin(std::size_t rank, int call) const {
    const CallFrontier& before = ranks_[rank].before[static_cast<std::size_t>(call)];
    for (int needed : before)
      if (needed >= 0 && states_[rank].streams[stream_of(rank, static_cast<std::size_t>(needed))].ended < needed)
        return false;
    return true;
  }

  void begin(Begun& begun) {
    const RecordedCall& call = call_of(begun);
    const auto& groups = states_[begun.rank].groups;
    const auto found = groups.find(call.group);
    CHECK(found != groups.end(), rank_text(ranks_[begun.rank].rank), " is in no group ", call.group);
    Group& group = groups_[found->second];
    if (call.op == "exchange")
      exchange(group, begun);
    else
      meet(group, begun);
  }

  void meet(Group& group, Begun& begun) {
    if (!group.arrived.empty()) compare(*group.arrived.front(), begun);
    group.arrived.push_back(&begun);
    if (!problems_.empty() || group.arrived.size() < group.present) return;
    for (const Begun* each : std::exchange(group.arrived, {})) end(*each);
  }

  void compare(const Begun& a, const Begun& b) {
    const RecordedCall& left = call_of(a);
    const RecordedCall& right = call_of(b);
    if (left.op == right.op && left.step == right.step && left.tensor == right.tensor && left.bytes == right.bytes &&
        left.dtype == right.dtype && left.detail == right.detail)
      return;
    problems_.push_back(rank_text(ranks_[a.rank].rank) + " makes " + to_string(left) + " where " +
                        rank_text(ranks_[b.rank].rank) + " makes " + to_string(right));
  }

  void exchange(Group& group, Begun& begun) {
    const RecordedCall& call = call_of(begun);
    const int me = member(group, ranks_[begun.rank].rank);
    const auto given = [&](int peer) { return index_.contains(group.ranks.at(static_cast<std::size_t>(peer))); };
    for (const RecordedTransfer& send : call.sends) begun.missing += given(send.peer);
    for (const RecordedTransfer& receive : call.receives) begun.missing += given(receive.peer);
    if (begun.missing == 0) return end(begun);
    for (const RecordedTransfer& send : call.sends)
      if (given(send.peer)) post(group, {me, send.peer}, {&begun, send}, true);
    for (const RecordedTransfer& receive : call.receives)
      if (given(receive.peer) && problems_.empty()) post(group, {receive.peer, me}, {&begun, receive}, false);
  }

  void post(Group& group, std::pair<int, int> between, const Message& message, bool sends) {
    Pair& pair = group.pairs[between];
    std::deque<Message>& theirs = sends ? pair.awaited : pair.sent;
    if (theirs.empty()) {
      (sends ? pair.sent : pair.awaited).push_back(message);
      return;
    }
    const Message other = theirs.front();
    theirs.pop_front();
    const Message& sent = sends ? message : other;
    const Message& awaited = sends ? other : message;
    const RecordedCall& from = call_of(*sent.call);
    const RecordedCall& to = call_of(*awaited.call);
    if (sent.transfer.bytes != awaited.transfer.bytes || sent.transfer.dtype != awaited.transfer.dtype ||
        from.step != to.step) {
      problems_.push_back(rank_text(ranks_[sent.call->rank].rank) + " sends " + std::to_string(sent.transfer.bytes) +
                          " bytes of " + name_of(sent.transfer.dtype) + " in " + to_string(from) + " where " +
                          rank_text(ranks_[awaited.call->rank].rank) + " receives " +
                          std::to_string(awaited.transfer.bytes) + " bytes of " + name_of(awaited.transfer.dtype) +
                          " in " + to_string(to));
      return;
    }
    for (Begun* side : {sent.call, awaited.call})
      if (--side->missing == 0) end(*side);
  }

  static int member(const Group& group, int rank) {
    const auto found = std::find(group.ranks.begin(), group.ranks.end(), rank);
    CHECK(found != group.ranks.end(), rank_text(rank), " is not in its group ", group.name);
    return static_cast<int>(found - group.ranks.begin());
  }

  void end(const Begun& begun) {
    Rank& rank = states_[begun.rank];
    Stream& stream = rank.streams[stream_of(begun.rank, static_cast<std::size_t>(begun.call))];
    stream.ended = begun.call;
    stream.busy = false;
    if (!std::exchange(rank.queued, true)) ready_.push_back(begun.rank);
  }

  // Nothing moves any more: who has begun a call that has not ended?
  void report_waiting() {
    std::size_t waiting = 0;
    for (std::size_t i = 0; i < ranks_.size(); ++i)
      for (const Stream& stream : states_[i].streams) {
        if (!stream.busy) continue;
        if (++waiting > kMostProblems) continue;
        const RecordedCall& made = call_of(stream.begun);
        problems_.push_back(rank_text(ranks_[i].rank) + " waits for ever in " + to_string(made) + " for " +
                            waited_for(i, made));
      }
    if (waiting > kMostProblems)
      problems_.push_back("and " + std::to_string(waiting - kMostProblems) + " more calls wait");
  }

  std::string waited_for(std::size_t rank, const RecordedCall& call) const {
    const Group& group = groups_[states_[rank].groups.find(call.group)->second];
    std::vector<int> missing;
    if (call.op == "exchange") {
      const int me = member(group, ranks_[rank].rank);
      const auto open = [&](std::pair<int, int> between, bool sends) {
        const auto pair = group.pairs.find(between);
        return pair != group.pairs.end() && !(sends ? pair->second.sent : pair->second.awaited).empty();
      };
      for (const RecordedTransfer& each : call.sends)
        if (open({me, each.peer}, true)) missing.push_back(group.ranks[static_cast<std::size_t>(each.peer)]);
      for (const RecordedTransfer& each : call.receives)
        if (open({each.peer, me}, false)) missing.push_back(group.ranks[static_cast<std::size_t>(each.peer)]);
    } else {
      for (int other : group.ranks) {
        const auto given = index_.find(other);
        if (given == index_.end()) continue;
        if (std::none_of(group.arrived.begin(), group.arrived.end(),
                         [&](const Begun* each) { return each->rank == given->second; }))
          missing.push_back(other);
      }
    }
    std::sort(missing.begin(), missing.end());
    missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
    std::string text;
    for (std::size_t i = 0; i < std::min<std::size_t>(missing.size(), 4); ++i)
      text += (i ? "; " : "") + rank_text(missing[i]) + ", which " + state_of(index_.at(missing[i]));
    return missing.size() > 4 ? text + "; and " + std::to_string(missing.size() - 4) + " more" : text;
  }

  std::string state_of(std::size_t rank) const {
    std::string text;
    for (const Stream& stream : states_[rank].streams)
      if (stream.busy) text += (text.empty() ? "is in " : " and ") + to_string(call_of(stream.begun));
    return text.empty() ? "has no call left" : text;
  }

  std::span<const RankCalls> ranks_;
  std::vector<Rank> states_;
  std::map<int, std::size_t> index_;  // rank of the world -> index
  std::map<std::pair<std::string, std::vector<int>>, std::size_t> group_index_;
  std::deque<Group> groups_;
  std::deque<std::size_t> ready_;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> call_problems(std::span<const RankCalls> ranks) { return Matcher(ranks).run(); }

}  // namespace trireme
