// Who touched each byte of device memory last, so that two accesses that nothing orders are found whichever order they
// happened to run in: within a block (no barrier between), between the blocks of a launch (nothing orders those), and
// between operations of streams (vector clocks).
//
// An access is stamped with an execution (one block of one launch, or one whole operation), a thread of it, and its
// warp's clock, which barriers advance. For each 4 bytes the last plain write (or the atomics since) and the last reads
// are kept in 8 bytes each; words of which only some bytes were touched have four such pairs in a table of their own.
// Reads by several threads merge into a stamp that says how far apart they were. Reads of other operations that neither
// order themselves go to a list beside.
//
// Source: FastTrack (Flanagan and Freund, 2009), with barriers in place of locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/gpu/memory/operation.h"

namespace trireme::gpu {

// Anonymous zeroed pages, taken only when touched.
class LazyPages {
 public:
  explicit LazyPages(std::size_t bytes);
  ~LazyPages();
  LazyPages(const LazyPages&) = delete;
  LazyPages& operator=(const LazyPages&) = delete;
  std::byte* data() const { return data_; }
  void discard(std::size_t offset, std::size_t bytes);  // whole pages within become zero again

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// How far apart the threads of a stamp are.
enum class Spread : std::uint64_t { kThread, kWarp, kBlock, kLaunch };

struct Stamp {
  std::uint64_t execution : 32 = 0;  // 0: nobody
  std::uint64_t clock : 17 = 0;      // the warp's, when it happened
  std::uint64_t warp : 5 = 0;
  std::uint64_t lane : 5 = 0;
  Spread spread : 2 = Spread::kThread;
  std::uint64_t atomic : 1 = 0;
  std::uint64_t more : 1 = 0;   // readers of other operations are in the list beside
  std::uint64_t split : 1 = 0;  // of a word: its bytes have stamps of their own
};
static_assert(sizeof(Stamp) == 8);
inline constexpr std::uint32_t kMostClock = (1u << 17) - 1;

struct Cell {
  Stamp write{};
  Stamp read{};
};

// Stamps for a range of memory, of which every word has a Cell.
class CellTable {
 public:
  explicit CellTable(std::size_t bytes) : words_(bytes * 4), directory_((bytes / kPage + 1) * sizeof(Cell*)) {}

  // Calls visit(cell, first byte) for the cells that hold [offset, offset + bytes), until it answers false.
  // `kReplaces`: it leaves the same in every cell that it visits, so that a word's bytes need no stamps of their own
  // any longer.
  template <bool kReplaces, class Visit>
  bool for_each(std::size_t offset, std::size_t bytes, const Visit& visit);
  void clear(std::size_t offset, std::size_t bytes);  // multiples of 4

 private:
  Cell* word(std::size_t offset) const { return reinterpret_cast<Cell*>(words_.data()) + offset / 4; }
  Cell* byte(std::size_t offset) {
    Cell*& page = reinterpret_cast<Cell**>(directory_.data())[offset / kPage];
    if (page == nullptr) page = pages_.emplace_back(std::make_unique<Cell[]>(kPage)).get();
    return page + offset % kPage;
  }

  static constexpr std::size_t kPage = 4096;
  LazyPages words_;
  LazyPages directory_;  // of the pages with a Cell for each byte, where one was needed
  std::vector<std::unique_ptr<Cell[]>> pages_{};
};

template <bool kReplaces, class Visit>
bool CellTable::for_each(std::size_t offset, std::size_t bytes, const Visit& visit) {
  const std::size_t end = offset + bytes;
  while (offset < end) {
    Cell* whole = word(offset);
    const std::size_t stop = offset / 4 * 4 + 4;
    const bool all = offset % 4 == 0 && end >= stop;
    if (all && !whole->write.split) {
      if (!visit(*whole, offset)) return false;
      offset = stop;
      continue;
    }
    if (!whole->write.split) {
      for (std::size_t i = 0; i < 4; ++i) byte(stop - 4)[i] = *whole;
      whole->write.split = 1;
    }
    for (; offset < stop && offset < end; ++offset) {
      if (!visit(*byte(offset), offset)) return false;
    }
    if (kReplaces && all) *whole = *byte(stop - 4);
  }
  return true;
}

// Who accesses, and what it has seen: a warp's clock as of the last barrier that ordered the two.
struct Actor {
  const Operation* operation = nullptr;
  std::uint32_t first_execution = 0;  // of the launch
  std::uint32_t executions = 1;
  std::uint32_t execution = 0;  // of the block
  std::uint32_t clock = 0;
  std::uint32_t warp = 0;
  std::uint32_t lane = 0;
  const std::uint32_t* seen = nullptr;  // [warps]; null: one thread is all there is
  std::uint32_t seen_of_all = 0;        // the least of `seen`
};

enum class Access { kRead, kWrite, kAtomic };

struct Conflict {
  Stamp with{};
  bool with_read = false;
  std::size_t offset = 0;
};

// What the memory is shared by: blocks and operations, or the threads of one block.
enum class Reach { kDevice, kBlock };

// The operations that stamps speak of, and the readers that one stamp cannot hold.
class AccessHistory {
 public:
  AccessHistory(std::size_t bytes, Reach reach) : reach_(reach), cells_(bytes) {}

  // Numbers for the executions of an operation: `count` blocks of a launch, or 1. Returns the first.
  std::uint32_t begin(const Operation& operation, std::uint32_t count);

  // Stamps the bytes; answers with the first earlier access that it conflicts with.
  std::optional<Conflict> record(const Actor& actor, Access access, std::size_t offset, std::size_t bytes);
  void forget(std::size_t offset, std::size_t bytes);  // of memory that was released

  struct Origin {
    std::uint32_t first = 0;  // execution
    std::uint32_t count = 0;
    std::uint32_t stream = 0;
    std::uint64_t number = 0;
    std::string label{};
  };
  const Origin& origin(std::uint32_t execution) const;

 private:
  bool before(const Stamp& stamp, const Actor& actor) const;
  bool operation_before(std::uint32_t execution, const Actor& actor) const;
  bool same_launch(std::uint32_t execution, const Actor& actor) const {
    return execution - actor.first_execution < actor.executions;
  }
  void merge(Stamp& stamp, const Actor& actor) const;
  bool read(Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict);
  bool write(Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict);
  bool atomic(Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict);
  bool readers_before(const Cell& cell, const Actor& actor, std::size_t offset, Conflict& conflict);

  Reach reach_;
  CellTable cells_;
  std::unordered_map<std::size_t, std::vector<Stamp>> concurrent_readers_{};  // by word
  std::vector<Origin> origins_{};
  std::uint32_t next_ = 1;
  mutable Origin last_{};  // the operation asked about last, and the answer
  mutable std::uint64_t last_asker_ = 0;
  mutable bool last_answer_ = false;
};

}  // namespace trireme::gpu
