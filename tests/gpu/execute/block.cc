#include "tests/gpu/execute/block.h"

#include <algorithm>
#include <bit>
#include <sstream>

#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

std::string triple(const std::array<std::uint32_t, 3>& of) {
  std::ostringstream out;
  out << "(" << of[0] << ", " << of[1] << ", " << of[2] << ")";
  return out.str();
}

std::array<std::uint32_t, 3> unravel(std::uint32_t number, const std::array<std::uint32_t, 3>& sizes) {
  return {number % sizes[0], number / sizes[0] % sizes[1], number / sizes[0] / sizes[1]};
}

}  // namespace

Block::Block(const Launch& launch, const Program& program, GlobalAccess& global, const Operation& operation, bool races,
             Counters& counters, std::uint64_t seed)
    : launch_(launch),
      program_(program),
      global_(global),
      counters_(counters),
      random_(seed),
      threads_(launch.block[0] * launch.block[1] * launch.block[2]),
      shared_(program.dynamic_shared_offset + launch.dynamic_shared_bytes, races) {
  actor_.operation = &operation;
  actor_.first_execution = global.first_execution();
  actor_.executions = launch.grid[0] * launch.grid[1] * launch.grid[2];
  for (std::uint32_t first = 0; first < threads_; first += kLanes) {
    warps_.push_back(std::make_unique<Warp>(*this, program, first / kLanes));
    Warp& warp = *warps_.back();
    for (const auto& constant : program.constants) warp.set(constant.slot, constant.bits, constant.bytes);
    for (const auto& address : program.addresses) {
      const auto variable = launch.variables->find(address.variable);
      if (launch.variables == nullptr || variable == launch.variables->end()) {
        warp.fault(Finding::kBadPtx, 0, "variable " + address.variable + " was not loaded");
      }
      warp.set(address.slot,
               reinterpret_cast<std::uint64_t>(variable->second) + static_cast<std::uint64_t>(address.addend), 8);
    }
  }
}

std::string Block::place() const { return "block " + triple(place_); }
std::string Block::thread_name(std::uint32_t number) const {
  return "thread " + triple(unravel(number, launch_.block));
}

void Block::fill_specials(Warp& warp) {
  for (const auto& [special, slot] : program_.specials) {
    std::uint32_t* lanes = warp.lanes<std::uint32_t>(slot);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      const auto thread = unravel(warp.number() * kLanes + lane, launch_.block);
      const auto which = static_cast<std::size_t>(special);
      switch (special) {
        case Special::kTidX:
        case Special::kTidY:
        case Special::kTidZ:
          lanes[lane] = thread[which];
          break;
        case Special::kNtidX:
        case Special::kNtidY:
        case Special::kNtidZ:
          lanes[lane] = launch_.block[which - 3];
          break;
        case Special::kCtaidX:
        case Special::kCtaidY:
        case Special::kCtaidZ:
          lanes[lane] = place_[which - 6];
          break;
        case Special::kNctaidX:
        case Special::kNctaidY:
        case Special::kNctaidZ:
          lanes[lane] = launch_.grid[which - 9];
          break;
        case Special::kLaneid:
          lanes[lane] = lane;
          break;
        case Special::kWarpid:
          lanes[lane] = warp.number();
          break;
        case Special::kNwarpid:
          lanes[lane] = static_cast<std::uint32_t>(warps_.size());
          break;
        case Special::kLanemaskEq:
          lanes[lane] = 1u << lane;
          break;
        case Special::kLanemaskLt:
          lanes[lane] = (1u << lane) - 1;
          break;
        case Special::kLanemaskLe:
          lanes[lane] = (2u << lane) - 1;
          break;
        case Special::kLanemaskGt:
          lanes[lane] = ~((2u << lane) - 1);
          break;
        case Special::kLanemaskGe:
          lanes[lane] = ~((1u << lane) - 1);
          break;
        case Special::kDynamicShared:
          lanes[lane] = launch_.dynamic_shared_bytes;
          break;
      }
    }
  }
}

void Block::start(std::uint32_t index) {
  place_ = unravel(index, launch_.grid);
  actor_.execution = actor_.first_execution + index;
  shared_.reset();
  barriers_ = {};
  ready_ = 0;
  for (auto& warp : warps_) {
    const std::uint32_t threads = std::min<std::uint32_t>(kLanes, threads_ - warp->number() * kLanes);
    warp->start(threads == kLanes ? kAllLanes : (Mask{1} << threads) - 1);
    fill_specials(*warp);
    ready_ |= 1u << warp->number();
  }
  ++counters_.blocks;
}

void Block::run(std::uint32_t index) {
  start(index);
  while (left() != 0) {
    if (ready_ == 0) deadlock();
    std::uint32_t rest = ready_;
    for (auto skip = random_() % static_cast<unsigned>(std::popcount(ready_)); skip > 0; --skip) rest &= rest - 1;
    Warp& warp = *warps_[static_cast<std::size_t>(std::countr_zero(rest))];
    if (warp.run() == Warp::Pause::kBarrier) {
      arrive(warp);
    } else {
      ready_ &= ~(1u << warp.number());
      for (auto& barrier : barriers_) open_if_complete(barrier);
    }
  }
}

std::uint32_t Block::left() const {
  std::uint32_t warps = 0;
  for (const auto& warp : warps_) warps |= (warp->done() ? 0u : 1u) << warp->number();
  return warps;
}

void Block::arrive(Warp& warp) {
  const Instruction& instruction = warp.barrier();
  const auto kind = static_cast<BarrierKind>(instruction.extra);
  const int lane = std::countr_zero(warp.alive());
  const std::size_t base = kind >= BarrierKind::kCount ? 1 : 0;  // after a reduction's result
  const auto number = warp.value(instruction.slots[base], 4, lane);
  if (number >= barriers_.size()) warp.fault(Finding::kLimit, lane, "there are 16 barriers, 0 to 15");
  Barrier& barrier = barriers_[number];
  const Slot count_slot = instruction.slots[base + 1];
  const auto count = count_slot == kNoSlot ? 0 : static_cast<std::uint32_t>(warp.value(count_slot, 4, lane));
  if (count % kLanes != 0) warp.fault(Finding::kLimit, lane, "a barrier's count of threads must be a multiple of 32");
  if (barrier.joined == 0) {
    barrier.first = &instruction;
    barrier.count = count;
  } else if (barrier.count != count || (count == 0 && barrier.first != &instruction)) {
    std::ostringstream out;
    out << "other warps wait for barrier " << number << " at line " << barrier.first->statement->line << " ("
        << barrier.first->statement->text << ")";
    warp.fault(Finding::kDivergence, lane, out.str());
  }
  const std::uint32_t bit = 1u << warp.number();
  barrier.arrived += kLanes;
  barrier.joined |= bit;
  if (kind == BarrierKind::kArrive) warp.advance_clock(warp.clock() + 1);
  for (std::size_t w = 0; w < warps_.size(); ++w) barrier.seen[w] = std::max(barrier.seen[w], warp.seen[w]);
  if (kind >= BarrierKind::kCount) reduce(barrier, warp, instruction);
  if (kind == BarrierKind::kArrive) {
    warp.pass_barrier();
  } else {
    barrier.waiting |= bit;
    ready_ &= ~bit;
  }
  open_if_complete(barrier);
}

void Block::reduce(Barrier& barrier, Warp& warp, const Instruction& instruction) const {
  const auto kind = static_cast<BarrierKind>(instruction.extra);
  if (std::popcount(barrier.joined) == 1) barrier.result = kind == BarrierKind::kAnd ? 1 : 0;
  const Mask taken = warp.predicate(instruction.slots[3]);
  const Mask lanes = warp.alive();
  const Mask set = taken & lanes;
  if (kind == BarrierKind::kCount) barrier.result += static_cast<std::uint32_t>(std::popcount(set));
  if (kind == BarrierKind::kAnd) barrier.result &= set == lanes ? 1 : 0;
  if (kind == BarrierKind::kOr) barrier.result |= set != 0 ? 1 : 0;
}

void Block::open_if_complete(Barrier& barrier) {
  if (barrier.waiting == 0 && barrier.count == 0) return;
  const bool complete = barrier.count == 0 ? (left() & ~barrier.joined) == 0 : barrier.arrived >= barrier.count;
  if (complete) open(barrier);
}

void Block::open(Barrier& barrier) {
  std::uint32_t clock = 0;
  for (const auto& warp : warps_) {
    if (barrier.waiting >> warp->number() & 1) clock = std::max(clock, warp->clock() + 1);
    if (barrier.count == 0 && warp->done()) barrier.seen[warp->number()] = kMostClock + 1;
  }
  for (std::size_t w = 0; w < warps_.size(); ++w) {
    if (barrier.waiting >> w & 1) barrier.seen[w] = clock;
  }
  for (auto& warp : warps_) {
    if ((barrier.waiting >> warp->number() & 1) == 0) continue;
    const Instruction& instruction = warp->barrier();
    for (std::size_t w = 0; w < warps_.size(); ++w) warp->seen[w] = std::max(warp->seen[w], barrier.seen[w]);
    warp->seen_of_all =
        *std::min_element(warp->seen.begin(), warp->seen.begin() + static_cast<std::ptrdiff_t>(warps_.size()));
    warp->advance_clock(clock);
    if (static_cast<BarrierKind>(instruction.extra) >= BarrierKind::kCount) {
      for_each_lane(warp->alive(),
                    [&](int lane) { warp->store(instruction.slots[0], instruction.bytes[0], lane, barrier.result); });
    }
    warp->pass_barrier();
    ready_ |= 1u << warp->number();
  }
  ++counters_.barriers;
  barrier = {};
}

void Block::deadlock() const {
  std::ostringstream out;
  const Warp* waiting = nullptr;
  for (std::size_t number = 0; number < barriers_.size(); ++number) {
    const Barrier& barrier = barriers_[number];
    if (barrier.joined == 0) continue;
    out << (waiting != nullptr ? "; " : "") << "at barrier " << number << " (line " << barrier.first->statement->line
        << ") wait " << std::popcount(barrier.waiting) << " warps, and " << std::popcount(left() & ~barrier.joined)
        << " others never come";
    if (barrier.waiting != 0) waiting = warps_[static_cast<std::size_t>(std::countr_zero(barrier.waiting))].get();
  }
  waiting->fault(Finding::kDivergence, std::countr_zero(waiting->alive()), out.str());
}

}  // namespace trireme::gpu
