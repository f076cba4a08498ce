#include "tests/gpu/execute/warp.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <sstream>

#include "tests/gpu/execute/block.h"
#include "tests/gpu/execute/launch.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

constexpr std::uint32_t kNever = ~std::uint32_t{0};
constexpr std::align_val_t kAlignment{64};

std::string lane_list(Mask lanes) {
  std::ostringstream out;
  out << (std::popcount(lanes) == 1 ? "lane" : "lanes");
  for (Mask rest = lanes; rest != 0;) {
    const int first = std::countr_zero(rest);
    int last = first;
    while (last < kLanes - 1 && (rest >> (last + 1) & 1) != 0) ++last;
    out << (rest == lanes ? " " : ", ") << first;
    if (last > first) out << " to " << last;
    rest = last == kLanes - 1 ? 0 : rest & ~((Mask{2} << last) - 1);
  }
  return out.str();
}

}  // namespace

void Warp::Free::operator()(std::byte* memory) const { ::operator delete[](memory, kAlignment); }

Warp::Warp(Block& block, const Program& program, std::uint32_t number)
    : block_(block),
      program_(program),
      counters_(block.counters()),
      number_(number),
      registers_(static_cast<std::byte*>(::operator new[](program.register_bytes + 64, kAlignment))),
      local_(static_cast<std::size_t>(program.local_bytes) * kLanes) {
  std::memset(registers_.get(), 0xA5, program.register_bytes);
}

void Warp::start(Mask threads) {
  alive_ = active_ = threads;
  waiting_ = 0;
  pc_ = program_.entry;
  merge_ = kNever;
  seen.fill(1);
  seen[number_] = 2;  // what others do before the first barrier is not seen
  seen_of_all = 1;
  for (auto& lane : copies) lane = {};
}

void Warp::set(Slot slot, std::uint64_t bits, std::uint8_t bytes) {
  if (bytes == 0) {
    predicate(slot) = bits != 0 ? kAllLanes : 0;
    return;
  }
  for (int lane = 0; lane < kLanes; ++lane) store(slot, bytes, lane, bits);
}

std::uint64_t Warp::value(Slot slot, std::uint8_t bytes, int lane) {
  if (bytes == 0) return predicate(slot) >> lane & 1;
  std::uint64_t bits = 0;
  std::memcpy(&bits, registers_.get() + slot + static_cast<std::size_t>(lane) * bytes, bytes);
  return bits;
}

void Warp::store(Slot slot, std::uint8_t bytes, int lane, std::uint64_t bits) {
  if (bytes == 0) {
    Mask& lanes = predicate(slot);
    lanes = (lanes & ~(Mask{1} << lane)) | static_cast<Mask>(bits & 1) << lane;
    return;
  }
  std::memcpy(registers_.get() + slot + static_cast<std::size_t>(lane) * bytes, &bits, bytes);
}

Actor Warp::actor(int lane) const {
  Actor actor = block_.actor();
  actor.clock = seen[number_];
  actor.warp = number_;
  actor.lane = static_cast<std::uint32_t>(lane);
  actor.seen = seen.data();
  actor.seen_of_all = seen_of_all;
  return actor;
}

void Warp::advance_clock(std::uint32_t clock) {
  if (clock > kMostClock) fault(Finding::kLimit, std::countr_zero(alive_), "more than 131071 barriers in one block");
  seen[number_] = clock;
}

Warp::Pause Warp::run() {
  for (;;) {
    if (pc_ >= merge_ || active_ == 0) {
      if (!regroup()) {
        if (alive_ == 0) return Pause::kDone;
        stuck();
      }
    }
    const Instruction& instruction = program_.code[pc_];
    const Mask lanes = guarded(instruction);
    ++counters_.warp_instructions;
    counters_.lane_instructions += static_cast<std::uint64_t>(std::popcount(lanes));
    switch (instruction.flow) {
      case Flow::kNext:
        if (lanes != 0) instruction.model(*this, instruction, lanes);
        ++pc_;
        break;
      case Flow::kBranch:
        jump(lanes, instruction.target);
        break;
      case Flow::kTable:
        branch_by_table(instruction, lanes);
        break;
      case Flow::kCall:
        for_each_lane(lanes, [&](int lane) { this->lanes<std::uint32_t>(instruction.slots[0])[lane] = pc_ + 1; });
        jump(lanes, instruction.target);
        break;
      case Flow::kReturn:
        come_back(instruction, lanes);
        break;
      case Flow::kExit:
        leave(lanes);
        break;
      case Flow::kTogether:
        come_together(instruction, lanes);
        break;
      case Flow::kBarrier:
        if (wait_for_all(instruction, lanes)) return Pause::kBarrier;
        break;
    }
  }
}

void Warp::settle() {
  for_each_lane(active_, [&](int lane) { pcs_[lane] = pc_; });
}

bool Warp::regroup() {
  settle();
  const Mask ready = alive_ & ~waiting_;
  pc_ = kNever;
  merge_ = kNever;
  active_ = 0;
  for_each_lane(ready, [&](int lane) { pc_ = std::min(pc_, pcs_[lane]); });
  for_each_lane(ready, [&](int lane) {
    if (pcs_[lane] == pc_) {
      active_ |= Mask{1} << lane;
    } else {
      merge_ = std::min(merge_, pcs_[lane]);
    }
  });
  return active_ != 0;
}

void Warp::jump(Mask lanes, std::uint32_t target) {
  if (lanes == active_) {
    pc_ = target;
  } else if (lanes == 0) {
    ++pc_;
  } else {
    ++pc_;
    settle();
    for_each_lane(lanes, [&](int lane) { pcs_[lane] = target; });
    active_ = 0;
  }
}

void Warp::leave(Mask lanes) {
  ++pc_;
  settle();
  alive_ &= ~lanes;
  active_ = 0;
  waiting_ = 0;  // whoever waited looks again at whom it waits for
}

void Warp::branch_by_table(const Instruction& instruction, Mask lanes) {
  const auto& table = program_.tables[instruction.target];
  const std::uint32_t* index = this->lanes<std::uint32_t>(instruction.slots[0]);
  ++pc_;
  settle();
  for_each_lane(lanes, [&](int lane) {
    if (index[lane] >= table.size()) fault(Finding::kOutOfBounds, lane, "brx.idx beyond its targets", instruction);
    pcs_[lane] = table[index[lane]];
  });
  active_ = 0;
}

void Warp::come_back(const Instruction& instruction, Mask lanes) {
  const std::uint32_t* back = this->lanes<std::uint32_t>(instruction.slots[0]);
  ++pc_;
  settle();
  for_each_lane(lanes, [&](int lane) { pcs_[lane] = back[lane]; });
  active_ = 0;
}

// Lanes may name different masks (each half of a warp its own), so each mask is looked at alone.
void Warp::come_together(const Instruction& instruction, Mask lanes) {
  const bool all = instruction.mask_slot == kNoSlot;
  const std::uint32_t* named = all ? nullptr : this->lanes<std::uint32_t>(instruction.mask_slot);
  const auto mask_of = [&](int lane) { return all ? kAllLanes : named[lane]; };
  Mask here = lanes;
  for_each_lane(waiting_, [&](int lane) {
    if (pcs_[lane] == pc_) here |= Mask{1} << lane;
  });
  Mask rest = here;
  Mask left_waiting = 0;
  while (rest != 0) {
    const Mask mask = mask_of(std::countr_zero(rest));
    Mask group = 0;
    for_each_lane(rest, [&](int lane) {
      if (mask_of(lane) == mask) group |= Mask{1} << lane;
    });
    rest &= ~group;
    if ((group & ~mask) != 0) {
      fault(Finding::kDivergence, std::countr_zero(group & ~mask), "a lane that its own mask does not name",
            instruction);
    }
    if (all && alive_ != kAllLanes) {
      fault(Finding::kDivergence, std::countr_zero(group), "needs the whole warp, but " + lane_list(~alive_) + " left",
            instruction);
    }
    if ((mask & alive_ & ~group) != 0) {
      left_waiting |= group;
    } else {
      instruction.model(*this, instruction, group);
    }
  }
  if (here == active_ && left_waiting == 0) {
    ++pc_;
    return;
  }
  const std::uint32_t at = pc_++;
  active_ |= here;
  waiting_ &= ~here;
  settle();
  for_each_lane(left_waiting, [&](int lane) { pcs_[lane] = at; });
  waiting_ |= left_waiting;
  active_ = 0;
}

// A barrier of the block is for whole warps: lanes that have not left must all come to this one.
bool Warp::wait_for_all(const Instruction& instruction, Mask lanes) {
  if (lanes == 0) {
    ++pc_;
    return false;
  }
  if (lanes != active_) {
    fault(Finding::kDivergence, std::countr_zero(active_ & ~lanes),
          "a barrier under a predicate that not all lanes meet", instruction);
  }
  for_each_lane(waiting_, [&](int lane) {
    if (pcs_[lane] == pc_) active_ |= Mask{1} << lane;
  });
  waiting_ &= ~active_;
  if (active_ == alive_) return true;
  settle();
  waiting_ |= active_;
  active_ = 0;
  return false;
}

void Warp::pass_barrier() { ++pc_; }

void Warp::stuck() const {
  std::ostringstream out;
  Mask rest = waiting_;
  const char* separator = "";
  while (rest != 0) {
    const std::uint32_t pc = pcs_[std::countr_zero(rest)];
    Mask group = 0;
    for_each_lane(rest, [&](int lane) {
      if (pcs_[lane] == pc) group |= Mask{1} << lane;
    });
    rest &= ~group;
    const Statement& statement = *program_.code[pc].statement;
    out << separator << lane_list(group) << " of warp " << number_ << " wait at line " << statement.line << " ("
        << statement.text << ")";
    separator = ", ";
  }
  if (alive_ != kAllLanes) out << ", " << lane_list(~alive_) << " left or never were";
  out << ": no lane that is waited for will come";
  fault(Finding::kDivergence, std::countr_zero(waiting_), out.str(), program_.code[pcs_[std::countr_zero(waiting_)]]);
}

void Warp::fault(Finding finding, int lane, const std::string& what) const {
  fault(finding, lane, what, program_.code[pc_]);
}

void Warp::fault(Finding finding, int lane, const std::string& what, const Instruction& at) const {
  std::ostringstream out;
  out << name(finding) << ": kernel " << program_.kernel->name << ", " << block_.place() << ", "
      << block_.thread_name(number_ * kLanes + static_cast<std::uint32_t>(lane));
  if (at.statement != nullptr) out << ", PTX line " << at.statement->line << " (" << at.statement->text << ")";
  out << ": " << what;
  throw Fault(finding, out.str());
}

}  // namespace trireme::gpu
