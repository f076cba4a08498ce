#include "tests/gpu/memory/access_history.h"

#include <algorithm>
#include <cstring>

#include <sys/mman.h>

#include "monitoring/check.h"
#include "tests/gpu/memory/fault.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kPage = 4096;

Stamp stamp_of(const Actor& actor) {
  Stamp stamp;
  stamp.execution = actor.execution;
  stamp.clock = actor.clock;
  stamp.warp = actor.warp;
  stamp.lane = actor.lane;
  return stamp;
}

}  // namespace

LazyPages::LazyPages(std::size_t bytes) : bytes_(bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED, "cannot reserve ", bytes, " bytes of addresses");
  data_ = static_cast<std::byte*>(memory);
}

LazyPages::~LazyPages() { munmap(data_, bytes_); }

void LazyPages::discard(std::size_t offset, std::size_t bytes) {
  const std::size_t first = (offset + kPage - 1) / kPage * kPage;
  const std::size_t last = (offset + bytes) / kPage * kPage;
  if (first >= last) {
    std::memset(data_ + offset, 0, bytes);
    return;
  }
  std::memset(data_ + offset, 0, first - offset);
  madvise(data_ + first, last - first, MADV_DONTNEED);
  std::memset(data_ + last, 0, offset + bytes - last);
}

void CellTable::clear(std::size_t offset, std::size_t bytes) { words_.discard(offset * 4, bytes * 4); }

std::uint32_t AccessHistory::begin(const Operation& operation, std::uint32_t count) {
  const std::uint32_t first = next_;
  if (next_ + count < next_) {
    throw Fault(Finding::kLimit, "more than 2^32 blocks have run: the race detector cannot number them");
  }
  next_ += count;
  origins_.push_back({.first = first,
                      .count = count,
                      .stream = operation.stream,
                      .number = operation.number,
                      .label = operation.label});
  return first;
}

const AccessHistory::Origin& AccessHistory::origin(std::uint32_t execution) const {
  const auto after = std::upper_bound(origins_.begin(), origins_.end(), execution,
                                      [](std::uint32_t e, const Origin& origin) { return e < origin.first; });
  return *(after - 1);
}

bool AccessHistory::operation_before(std::uint32_t execution, const Actor& actor) const {
  const Operation& later = *actor.operation;
  if (later.before == nullptr) return true;
  if (last_asker_ != actor.first_execution || execution - last_.first >= last_.count) {
    const Origin& earlier = origin(execution);
    last_asker_ = actor.first_execution;
    last_.first = earlier.first;
    last_.count = earlier.count;
    last_answer_ = earlier.stream == later.stream ||
                   (earlier.stream < later.before->size() && (*later.before)[earlier.stream] >= earlier.number);
  }
  return last_answer_;
}

bool AccessHistory::before(const Stamp& stamp, const Actor& actor) const {
  if (stamp.execution == 0) return true;
  if (stamp.execution != actor.execution) {
    if (reach_ == Reach::kBlock) return true;
    return !same_launch(stamp.execution, actor) && operation_before(stamp.execution, actor);
  }
  if (actor.seen == nullptr) return true;
  switch (stamp.spread) {
    case Spread::kThread:
      if (stamp.warp == actor.warp && stamp.lane == actor.lane) return true;
      [[fallthrough]];
    case Spread::kWarp:
      return stamp.clock < actor.seen[stamp.warp];
    case Spread::kBlock:
      return stamp.clock < actor.seen_of_all;
    case Spread::kLaunch:
      break;
  }
  return false;
}

// Adds the actor to a stamp of accesses that need no order among themselves.
void AccessHistory::merge(Stamp& stamp, const Actor& actor) const {
  const bool other_block = stamp.execution != actor.execution;
  Stamp merged = stamp_of(actor);
  merged.atomic = stamp.atomic;
  merged.split = stamp.split;
  merged.more = stamp.more;
  if (stamp.execution == 0 || (other_block && (reach_ == Reach::kBlock || !same_launch(stamp.execution, actor)))) {
    stamp = merged;
    return;
  }
  if (other_block || stamp.spread == Spread::kLaunch) {
    merged.spread = Spread::kLaunch;
  } else if (before(stamp, actor)) {
    merged.spread = Spread::kThread;
  } else if (stamp.spread == Spread::kBlock || stamp.warp != actor.warp) {
    merged.spread = Spread::kBlock;
  } else {
    merged.spread = Spread::kWarp;
  }
  merged.clock = std::max<std::uint64_t>(merged.clock, other_block ? 0 : stamp.clock);
  stamp = merged;
}

bool AccessHistory::readers_before(const Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict) {
  if (!before(cell.read, actor)) {
    conflict = {.with = cell.read, .with_read = true, .offset = offset};
    return false;
  }
  if (!cell.read.more) return true;
  for (const Stamp& reader : concurrent_readers_[offset / 4]) {
    if (before(reader, actor)) continue;
    conflict = {.with = reader, .with_read = true, .offset = offset};
    return false;
  }
  return true;
}

bool AccessHistory::read(Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict) {
  if (!before(cell.write, actor)) {
    conflict = {.with = cell.write, .with_read = false, .offset = offset};
    return false;
  }
  const std::uint32_t reader = cell.read.execution;
  if (reach_ == Reach::kDevice && reader != 0 && reader != actor.execution && !same_launch(reader, actor) &&
      !operation_before(reader, actor)) {
    auto& readers = concurrent_readers_[offset / 4];
    std::erase_if(readers, [&](const Stamp& old) { return operation_before(old.execution, actor); });
    readers.push_back(cell.read);
    cell.read.more = 1;
  }
  merge(cell.read, actor);
  return true;
}

bool AccessHistory::write(Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict) {
  if (!before(cell.write, actor)) {
    conflict = {.with = cell.write, .with_read = false, .offset = offset};
    return false;
  }
  if (!readers_before(cell, actor, offset, conflict)) return false;
  cell.read = Stamp{};
  cell.write = stamp_of(actor);
  return true;
}

bool AccessHistory::atomic(Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict) {
  const bool atomics =
      cell.write.atomic && (cell.write.execution == actor.execution || same_launch(cell.write.execution, actor));
  if (!atomics) {
    if (!write(cell, actor, offset, conflict)) return false;
    cell.write.atomic = 1;
    return true;
  }
  if (!readers_before(cell, actor, offset, conflict)) return false;
  merge(cell.write, actor);
  return true;
}

std::optional<Conflict> AccessHistory::record(const Actor& actor, Access access, std::size_t offset,
                                              std::size_t bytes) {
  Conflict conflict;
  bool fine = true;
  switch (access) {
    case Access::kRead:
      fine = cells_.for_each<false>(offset, bytes,
                                    [&](Cell& cell, std::size_t at) { return read(cell, actor, at, conflict); });
      break;
    case Access::kWrite:
      fine = cells_.for_each<true>(offset, bytes,
                                   [&](Cell& cell, std::size_t at) { return write(cell, actor, at, conflict); });
      break;
    case Access::kAtomic:
      fine = cells_.for_each<false>(offset, bytes,
                                    [&](Cell& cell, std::size_t at) { return atomic(cell, actor, at, conflict); });
      break;
  }
  return fine ? std::nullopt : std::optional(conflict);
}

void AccessHistory::forget(std::size_t offset, std::size_t bytes) {
  cells_.clear(offset, bytes);
  if (!concurrent_readers_.empty()) {
    std::erase_if(concurrent_readers_, [&](const auto& entry) { return entry.first * 4 - offset < bytes; });
  }
}

}  // namespace trireme::gpu
