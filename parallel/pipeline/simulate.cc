#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

using Kind = Instruction::Kind;
constexpr int kLanes = 2;  // activations, gradients

class Simulator {
 public:
  Simulator(PipelineShape shape, Schedules schedules, const Costs& costs)
      : shape_(shape), schedules_(std::move(schedules)), costs_(costs), ranks_(schedules_.size()) {
    CHECK(ranks_.size() == static_cast<std::size_t>(shape.ranks), ranks_.size(), " lists for ", shape.ranks, " ranks");
    for (std::size_t r = 0; r < ranks_.size(); ++r)
      for (const Instruction& each : schedules_[r]) {
        Rank& rank = ranks_[r];
        if (!each.is_transfer()) {
          rank.computes.push_back(each);
          continue;
        }
        std::vector<Group>& groups = rank.lanes[lane_of(each)].groups;
        if (!each.joined) groups.push_back({.members = {}, .computes_before = rank.computes.size()});
        CHECK(!groups.empty(), to_string(each), " joins nothing");
        groups.back().members.push_back(each);
      }
  }

  // As far as it goes.
  void run() {
    for (bool some = true; some;) {
      some = false;
      for (std::size_t r = 0; r < ranks_.size(); ++r) {
        some = compute(r) || some;
        for (int lane = 0; lane < kLanes; ++lane) some = come_to_next(r, lane) || some;
      }
      some = meet() || some;
    }
  }

  // Where lanes wait for each other in a circle, lets their sends go together with what they receive next. False where
  // there is nothing to join.
  bool join_circles() {
    bool some = false;
    std::map<Node, Node> seen;  // -> where the walk that saw it began
    for (int rank = 0; rank < shape_.ranks; ++rank)
      for (int lane = 0; lane < kLanes; ++lane) {
        const Node start{rank, lane};
        std::optional<Node> at = start;
        while (at && seen.try_emplace(*at, start).second) at = waits_for(*at);
        if (!at || seen[*at] != start) continue;
        const Node first = *at;
        std::vector<Node> circle;
        do {
          circle.push_back(*at);
          at = waits_for(*at);
        } while (at && *at != first);
        for (const Node& node : circle) some = join(node) || some;
      }
    return some;
  }

  Simulation result() const {
    Simulation result;
    double busy = 0;
    for (const Rank& rank : ranks_) {
      result.timeline.push_back(rank.slots);
      result.makespan = std::max({result.makespan, rank.compute_free, rank.lanes[0].free, rank.lanes[1].free});
      for (const Slot& slot : rank.slots) busy += slot.end - slot.begin;
    }
    if (result.makespan > 0) result.bubble = 1 - busy / (result.makespan * static_cast<double>(ranks_.size()));
    for (const Schedule& schedule : schedules_) result.peak_saved.push_back(peak_saved(schedule));
    result.deadlock = deadlock();
    return result;
  }
  const Schedules& schedules() const { return schedules_; }

 private:
  using Key = std::tuple<int, char, int>;
  using Node = std::pair<int, int>;  // rank, lane
  struct Group {                     // transfers that are come to and done together
    std::vector<Instruction> members;
    std::size_t computes_before = 0;  // in the rank's list
    std::optional<double> come_to{};
    std::size_t met = 0;  // members
    double end = 0;
  };
  struct Lane {
    std::vector<Group> groups;
    std::size_t next = 0;  // the first that is not done
    double free = 0;
  };
  struct Rank {
    std::vector<Instruction> computes;
    std::size_t computed = 0;
    double compute_free = 0;
    std::vector<Slot> slots;
    std::array<Lane, kLanes> lanes;
  };
  struct Posted {
    std::size_t rank = 0;
    Instruction instruction;
    double at = 0;
  };

  static std::size_t lane_of(const Instruction& transfer) { return transfer.moves_gradient() ? 1 : 0; }
  static Key key(const Instruction& i) { return {i.stage, static_cast<char>(i.kind), i.micro_batch}; }
  Lane& lane(const Node& node) {
    return ranks_[static_cast<std::size_t>(node.first)].lanes[static_cast<std::size_t>(node.second)];
  }
  bool is_finished(const Instruction& i) const { return finished_.contains(key(i)); }

  double cost(Kind kind) const {
    if (kind == Kind::kForward) return costs_.forward;
    return kind == Kind::kBackwardInput ? costs_.backward_input : costs_.backward_weight;
  }

  // What must be finished before `now`, all of the same rank.
  std::vector<Instruction> needs(const Instruction& now) const {
    const auto [stage, kind, m, joined] = now;
    const auto apart = [&, rank = shape_.rank_of(now.stage)](int other) { return rank != shape_.rank_of(other); };
    switch (kind) {
      case Kind::kForward:
        if (stage == 0) return {};
        if (apart(stage - 1)) return {{stage, Kind::kReceiveInput, m}};
        return {{stage - 1, Kind::kForward, m}};
      case Kind::kBackwardInput: {
        std::vector<Instruction> all = {{stage, Kind::kForward, m}};
        if (stage == shape_.last_stage()) return all;
        const Instruction received{stage, Kind::kReceiveGradient, m}, made{stage + 1, Kind::kBackwardInput, m};
        all.push_back(apart(stage + 1) ? received : made);
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
      if (!is_finished(each)) return each;
    return std::nullopt;
  }

  bool compute(std::size_t r) {
    Rank& rank = ranks_[r];
    const std::size_t before = rank.computed;
    for (; rank.computed < rank.computes.size(); ++rank.computed) {
      const Instruction& now = rank.computes[rank.computed];
      if (missing(now)) break;
      double begin = rank.compute_free;
      for (const Instruction& each : needs(now)) begin = std::max(begin, finished_.at(key(each)));
      rank.compute_free = begin + cost(now.kind);
      rank.slots.push_back({now, begin, rank.compute_free});
      finished_[key(now)] = rank.compute_free;
    }
    return rank.computed > before;
  }

  bool come_to_next(std::size_t r, int number) {
    Rank& rank = ranks_[r];
    Lane& lane = rank.lanes[static_cast<std::size_t>(number)];
    if (lane.next == lane.groups.size()) return false;
    Group& group = lane.groups[lane.next];
    if (group.come_to || rank.computed < group.computes_before) return false;
    for (const Instruction& each : group.members)
      if (missing(each)) return false;
    group.come_to = lane.free;
    if (group.computes_before > 0) group.come_to = std::max(lane.free, rank.slots[group.computes_before - 1].end);
    for (const Instruction& each : group.members) post(r, each, *group.come_to);
    return true;
  }
  void post(std::size_t r, const Instruction& transfer, double at) {
    const int me = static_cast<int>(r), peer = shape_.rank_of(counterpart(transfer).stage);
    const auto way =
        transfer.is_send() ? std::tuple(me, peer, lane_of(transfer)) : std::tuple(peer, me, lane_of(transfer));
    (transfer.is_send() ? sends_ : receives_)[way].push_back({r, transfer, at});
  }

  // Sends and receives whose both sides have been come to, each pair of ranks' in order.
  bool meet() {
    bool some = false;
    for (auto& [way, sends] : sends_) {
      std::deque<Posted>& receives = receives_[way];
      while (!sends.empty() && !receives.empty()) {
        const Posted send = sends.front(), receive = receives.front();
        if (key(counterpart(send.instruction)) != key(receive.instruction)) break;  // one would be taken for the other
        const double end = std::max(send.at, receive.at) + costs_.transfer;
        for (const Posted& side : {send, receive}) arrive(side, end);
        sends.pop_front();
        receives.pop_front();
        some = true;
      }
    }
    return some;
  }
  void arrive(const Posted& side, double end) {
    Lane& lane = ranks_[side.rank].lanes[lane_of(side.instruction)];
    Group& group = lane.groups[lane.next];
    group.end = std::max(group.end, end);
    met_.insert(key(side.instruction));
    if (++group.met < group.members.size()) return;
    for (const Instruction& each : group.members) finished_[key(each)] = group.end;
    lane.free = group.end;
    ++lane.next;
  }

  // Without whom this lane cannot go on: the rank that its transfer is for, or what this rank's computing waits for.
  std::optional<Node> waits_for(const Node& node) {
    const Lane& mine = lane(node);
    if (mine.next == mine.groups.size()) return std::nullopt;
    const Group& group = mine.groups[mine.next];
    if (group.come_to) {
      for (const Instruction& each : group.members)
        if (!met_.contains(key(each))) return Node{shape_.rank_of(counterpart(each).stage), node.second};
    }
    const Rank& rank = ranks_[static_cast<std::size_t>(node.first)];
    if (rank.computed == rank.computes.size()) return std::nullopt;
    const std::optional<Instruction> need = missing(rank.computes[rank.computed]);
    if (!need || !need->is_transfer()) return std::nullopt;
    return Node{node.first, static_cast<int>(lane_of(*need))};
  }

  bool join(const Node& node) {
    Lane& mine = lane(node);
    if (mine.next + 1 >= mine.groups.size() || !mine.groups[mine.next].come_to) return false;
    Group& group = mine.groups[mine.next];
    Group& next = mine.groups[mine.next + 1];
    const bool sends = std::any_of(group.members.begin(), group.members.end(), [&](const Instruction& each) {
      return each.is_send() && !met_.contains(key(each));
    });
    if (!sends || next.members.size() != 1 || !next.members.front().is_receive()) return false;
    Instruction receive = next.members.front();
    Schedule& list = schedules_[static_cast<std::size_t>(node.first)];
    const auto place = std::find(list.begin(), list.end(), group.members.back()) + 1;
    const auto from = std::find(place, list.end(), receive);
    std::rotate(place, from, from + 1);
    receive.joined = place->joined = true;
    group.members.push_back(receive);
    post(static_cast<std::size_t>(node.first), receive, *group.come_to);
    mine.groups.erase(mine.groups.begin() + static_cast<std::ptrdiff_t>(mine.next + 1));
    return true;
  }

  std::optional<Deadlock> deadlock() const {
    Deadlock deadlock;
    bool any = false;
    for (const Schedule& schedule : schedules_) {
      const auto at =
          std::find_if(schedule.begin(), schedule.end(), [&](const auto& each) { return !is_finished(each); });
      deadlock.at.push_back(static_cast<std::size_t>(at - schedule.begin()));
      deadlock.why.emplace_back("done");
      if (at == schedule.end()) continue;
      any = true;
      Instruction awaited = *at;
      if (const std::optional<Instruction> need = missing(*at))
        awaited = *need;
      else if (at->is_transfer())
        awaited = counterpart(*at);
      deadlock.why.back() = fmt::format("waits for {} of rank {}", to_string(awaited), shape_.rank_of(awaited.stage));
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
  std::map<Key, double> finished_;                                                    // a transfer when its group is
  std::set<Key> met_;                                                                 // transfers
  std::map<std::tuple<int, int, std::size_t>, std::deque<Posted>> sends_, receives_;  // (from, to, lane) -> in order
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
