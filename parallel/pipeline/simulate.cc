#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

using Kind = Instruction::Kind;
constexpr double kNever = -1;

class Simulator {
 public:
  Simulator(PipelineShape shape, Schedules schedules, const Costs& costs)
      : shape_(shape), schedules_(std::move(schedules)), costs_(costs), ranks_(schedules_.size()) {
    CHECK(ranks_.size() == static_cast<std::size_t>(shape.ranks), ranks_.size(), " lists for ", shape.ranks, " ranks");
    for (std::size_t r = 0; r < ranks_.size(); ++r) ranks_[r].done.assign(schedules_[r].size(), kNever);
  }

  void run() {
    for (bool some = true; some;) {
      some = false;
      for (std::size_t r = 0; r < ranks_.size(); ++r) {
        some = compute(r) || some;
        some = come_to_transfers(r) || some;
      }
      some = meet() || some;
    }
  }

  // Where ranks wait for each other in a circle, lets some of them come to what others wait for them to receive. False
  // where that helps nowhere.
  bool join_circles() {
    bool some = false;
    std::vector<int> visited(ranks_.size(), -1);  // by the walk from which rank
    for (int start = 0; start < shape_.ranks; ++start) {
      std::optional<int> r = start;
      while (r && visited[index(*r)] < 0) {
        visited[index(*r)] = start;
        r = waits_for(index(*r));
      }
      if (!r || visited[index(*r)] != start) continue;
      std::vector<Join> joins;
      const int first = *r;
      do {
        if (const std::optional<Join> join = join_for(index(*r))) joins.push_back(*join);
        r = waits_for(index(*r));
      } while (r && *r != first);
      some = join_nearest(joins) || some;
    }
    return some;
  }

  Simulation result() {
    Simulation result;
    double busy = 0;
    for (const Rank& rank : ranks_) {
      result.timeline.push_back(rank.slots);
      result.makespan = std::max({result.makespan, rank.compute_free, rank.transfers_free});
      for (const Slot& slot : rank.slots) busy += slot.end - slot.begin;
    }
    if (result.makespan > 0) result.bubble = 1 - busy / (result.makespan * static_cast<double>(ranks_.size()));
    for (const Schedule& schedule : schedules_) result.peak_saved.push_back(peak_saved(schedule));
    result.deadlock = stuck();
    return result;
  }

  const Schedules& schedules() const { return schedules_; }

 private:
  static std::size_t index(int rank) { return static_cast<std::size_t>(rank); }

  using Key = std::tuple<int, char, int>;
  struct Rank {
    std::size_t computed = 0;     // instructions before it that compute have
    std::size_t transferred = 0;  // transfers before it are done
    std::size_t come_to = 0;      // transfers before it have been come to
    std::size_t finished = 0;     // all before it is
    double compute_free = 0;
    double transfers_free = 0;
    std::vector<double> done;  // instruction -> when; kNever: not yet
    std::vector<Slot> slots;
  };
  struct Posted {
    int rank = 0;
    std::size_t index = 0;
    double at = 0;
  };

  static Key key(const Instruction& i) { return {i.stage, static_cast<char>(i.kind), i.micro_batch}; }
  double when(const Instruction& instruction) const {
    const auto found = finished_.find(key(instruction));
    return found == finished_.end() ? kNever : found->second;
  }
  double cost(Kind kind) const {
    if (kind == Kind::kForward) return costs_.forward;
    if (kind == Kind::kBackwardInput) return costs_.backward_input;
    return kind == Kind::kBackwardWeight ? costs_.backward_weight : costs_.transfer;
  }

  // What must be finished before `now`: on this rank or, through a receive, on another.
  std::vector<Instruction> needs(const Instruction& now) const {
    const auto [stage, kind, m, joined] = now;
    const auto apart = [&](int other) { return shape_.rank_of(stage) != shape_.rank_of(other); };
    switch (kind) {
      case Kind::kForward:
        if (stage == 0) return {};
        return {apart(stage - 1) ? Instruction{stage, Kind::kReceiveInput, m}
                                 : Instruction{stage - 1, Kind::kForward, m}};
      case Kind::kBackwardInput: {
        std::vector<Instruction> all = {{stage, Kind::kForward, m}};
        if (stage < shape_.last_stage())
          all.push_back(apart(stage + 1) ? Instruction{stage, Kind::kReceiveGradient, m}
                                         : Instruction{stage + 1, Kind::kBackwardInput, m});
        return all;
      }
      case Kind::kBackwardWeight:
      case Kind::kSendGradient:
        return {{stage, Kind::kBackwardInput, m}};
      case Kind::kSendOutput:
        return {{stage, Kind::kForward, m}};
      default:
        return {};
    }
  }
  std::optional<Instruction> missing(const Instruction& now) const {
    for (const Instruction& each : needs(now))
      if (when(each) == kNever) return each;
    return std::nullopt;
  }

  bool compute(std::size_t r) {
    Rank& rank = ranks_[r];
    const Schedule& schedule = schedules_[r];
    bool some = false;
    for (; rank.computed < schedule.size(); ++rank.computed) {
      const Instruction& now = schedule[rank.computed];
      if (now.is_transfer()) continue;
      if (missing(now)) break;
      double begin = rank.compute_free;
      for (const Instruction& each : needs(now)) begin = std::max(begin, when(each));
      rank.compute_free = begin + cost(now.kind);
      rank.slots.push_back({now, begin, rank.compute_free});
      finish(r, rank.computed, rank.compute_free);
      some = true;
    }
    return some;
  }

  // Comes to the next transfer and those joined to it, once all before them is done.
  bool come_to_transfers(std::size_t r) {
    Rank& rank = ranks_[r];
    const Schedule& schedule = schedules_[r];
    while (rank.transferred < rank.come_to && rank.done[rank.transferred] != kNever) ++rank.transferred;
    if (rank.transferred < rank.come_to) return false;
    std::size_t first = rank.come_to;
    while (first < schedule.size() && !schedule[first].is_transfer()) ++first;
    if (first == schedule.size() || rank.computed < first) return false;
    std::size_t last = first + 1;
    while (last < schedule.size() && schedule[last].joined) ++last;
    for (std::size_t i = first; i < last; ++i)
      if (missing(schedule[i])) return false;
    for (std::size_t i = first; i < last; ++i) come_to(r, i);
    rank.transferred = first;
    rank.come_to = last;
    return true;
  }

  void come_to(std::size_t r, std::size_t at) {
    const Rank& rank = ranks_[r];
    const Instruction& now = schedules_[r][at];
    double ready = rank.transfers_free;
    for (std::size_t i = at; i-- > 0;)  // what was computed last before it
      if (!schedules_[r][i].is_transfer()) {
        ready = std::max(ready, rank.done[i]);
        break;
      }
    const int me = static_cast<int>(r), peer = shape_.rank_of(counterpart(now).stage);
    (now.is_send() ? sends_[{me, peer}] : receives_[{peer, me}]).push_back({me, at, ready});
  }

  // Sends and receives whose both sides have been come to.
  bool meet() {
    bool some = false;
    for (auto& [between, sends] : sends_) {
      std::deque<Posted>& receives = receives_[between];
      while (!sends.empty() && !receives.empty()) {
        const Posted send = sends.front(), receive = receives.front();
        if (!(counterpart(at(send)) == apart_from_joining(at(receive)))) break;  // would take one for the other
        const double end = std::max(send.at, receive.at) + costs_.transfer;
        for (const Posted& side : {send, receive}) {
          Rank& rank = ranks_[static_cast<std::size_t>(side.rank)];
          rank.transfers_free = std::max(rank.transfers_free, end);
          finish(static_cast<std::size_t>(side.rank), side.index, end);
        }
        sends.pop_front();
        receives.pop_front();
        some = true;
      }
    }
    return some;
  }

  const Instruction& at(const Posted& posted) const {
    return schedules_[static_cast<std::size_t>(posted.rank)][posted.index];
  }
  static Instruction apart_from_joining(Instruction instruction) {
    instruction.joined = false;
    return instruction;
  }
  void finish(std::size_t r, std::size_t index, double end) {
    ranks_[r].done[index] = end;
    finished_[key(schedules_[r][index])] = end;
  }

  // The instruction that rank `r` cannot finish.
  const Instruction* stands_at(std::size_t r) {
    Rank& rank = ranks_[r];
    while (rank.finished < rank.done.size() && rank.done[rank.finished] != kNever) ++rank.finished;
    return rank.finished < rank.done.size() ? &schedules_[r][rank.finished] : nullptr;
  }
  Instruction awaited(const Instruction& now) const {
    if (const std::optional<Instruction> need = missing(now)) return *need;
    return now.is_transfer() ? counterpart(now) : now;
  }
  std::optional<int> waits_for(std::size_t r) {
    const Instruction* now = stands_at(r);
    if (now == nullptr) return std::nullopt;
    return shape_.rank_of(awaited(*now).stage);
  }

  // The receive at `index` of the rank, which a peer waits for, may join what the rank stands at.
  struct Join {
    std::size_t rank = 0;
    std::size_t index = 0;
    std::size_t distance = 0;
  };
  std::optional<Join> join_for(std::size_t waiting) {
    const Instruction* now = stands_at(waiting);
    if (now == nullptr || missing(*now) || !now->is_send()) return std::nullopt;
    const Instruction receive = counterpart(*now);
    const std::size_t r = index(shape_.rank_of(receive.stage));
    const Rank& rank = ranks_[r];
    if (stands_at(r) == nullptr || rank.come_to <= rank.finished) return std::nullopt;
    const Schedule& mine = schedules_[r];
    const auto at = std::find(mine.begin() + static_cast<std::ptrdiff_t>(rank.come_to), mine.end(), receive);
    if (at == mine.end()) return std::nullopt;
    const auto place = static_cast<std::size_t>(at - mine.begin());
    return Join{r, place, place - rank.come_to};
  }

  // Those that stand next to what they join; if there are none, one that is moved ahead of what is computed between.
  bool join_nearest(const std::vector<Join>& joins) {
    const auto nearest = std::min_element(joins.begin(), joins.end(),
                                          [](const Join& a, const Join& b) { return a.distance < b.distance; });
    if (nearest == joins.end()) return false;
    for (const Join& join : joins)
      if (join.distance == 0 || &join == &*nearest) this->join(join);
    return true;
  }
  void join(const Join& join) {
    Rank& rank = ranks_[join.rank];
    Schedule& mine = schedules_[join.rank];
    const auto to = static_cast<std::ptrdiff_t>(rank.come_to), from = static_cast<std::ptrdiff_t>(join.index);
    std::rotate(mine.begin() + to, mine.begin() + from, mine.begin() + from + 1);
    std::rotate(rank.done.begin() + to, rank.done.begin() + from, rank.done.begin() + from + 1);
    if (rank.computed >= rank.come_to && rank.computed <= join.index) ++rank.computed;
    mine[rank.come_to].joined = true;
    come_to(join.rank, rank.come_to++);
  }

  std::optional<Deadlock> stuck() {
    Deadlock deadlock;
    bool any = false;
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      const Instruction* now = stands_at(r);
      deadlock.at.push_back(ranks_[r].finished);
      deadlock.why.emplace_back("done");
      if (now == nullptr) continue;
      any = true;
      deadlock.why.back() = fmt::format("waits for {} of rank {}", to_string(awaited(*now)), *waits_for(r));
    }
    if (!any) return std::nullopt;
    return deadlock;
  }

  static int peak_saved(const Schedule& schedule) {
    int now = 0, peak = 0;
    for (const Instruction& instruction : schedule) {
      if (instruction.kind == Kind::kForward) peak = std::max(peak, ++now);
      if (instruction.kind == Kind::kBackwardWeight) --now;
    }
    return peak;
  }

  PipelineShape shape_;
  Schedules schedules_;
  Costs costs_;
  std::vector<Rank> ranks_;
  std::map<Key, double> finished_;
  std::map<std::pair<int, int>, std::deque<Posted>> sends_, receives_;  // (from, to) -> in order
};

}  // namespace

Simulation simulate(PipelineShape shape, const Schedules& schedules, const Costs& costs) {
  Simulator simulator(shape, schedules, costs);
  simulator.run();
  return simulator.result();
}

Schedules join_deadlocks(PipelineShape shape, const Schedules& schedules) {
  Simulator simulator(shape, schedules, {});
  do {
    simulator.run();
  } while (simulator.join_circles());
  if (const std::optional<Deadlock> deadlock = simulator.result().deadlock)
    throw UserError(deadlock_report(simulator.schedules(), *deadlock));
  return simulator.schedules();
}

std::string deadlock_report(const Schedules& schedules, const Deadlock& deadlock) {
  constexpr std::size_t kAround = 6;
  std::string text = "schedule: the ranks wait for each other and none can go on\n";
  for (std::size_t r = 0; r < schedules.size(); ++r) {
    const Schedule& schedule = schedules[r];
    const std::size_t at = deadlock.at[r];
    const std::size_t first = at > kAround ? at - kAround : 0, last = std::min(schedule.size(), at + kAround);
    text += "  rank " + std::to_string(r) + ": " + (first > 0 ? "... " : "");
    for (std::size_t i = first; i < last; ++i) {
      text += i == at ? ">" : "";
      text += to_string(schedule[i]);
      text += i == at ? "< " : " ";
    }
    text += last < schedule.size() ? "... " : "";
    text += "(" + deadlock.why[r] + ")\n";
  }
  return text;
}

}  // namespace trireme
