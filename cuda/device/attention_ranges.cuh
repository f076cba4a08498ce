// Which keys a tile of rows attends to, and which rows attend to a tile of keys, found where it is needed, without a
// plan in memory. Both ends of the rows' ranges never fall, so that most of it is a search.
//
// An island is a run of rows whose ranges hang together (a document, as a rule), as on the host
// (cuda/host/attention_islands.h), only that here an empty range belongs to none. What a row reads is cut into steps
// that count from the start of its island, not of the call, and a step in which a row has no part leaves its sums as
// they are, bit for bit: so a document's results do not depend on what is packed or batched beside it.
//
// Everything here is called by whole warps with the same arguments and answers all lanes alike, without a barrier.
// A search reads 32 rows a round: 3 rounds for 32768 rows. Only islands whose first keys differ from row to row
// (windows) are scanned, 32 rows a round.
//
// Internal to cuda/device.
#pragma once

#include <cstdint>

namespace trireme::cuda {

class Ranges {
 public:
  __device__ Ranges(const std::int32_t* keys, int rows) : keys_(keys), rows_(rows) {}

  __device__ int rows() const { return rows_; }
  __device__ int begin(int row) const { return __ldg(keys_ + 2 * std::int64_t{row}); }
  __device__ int end(int row) const { return __ldg(keys_ + 2 * std::int64_t{row} + 1); }
  __device__ bool empty(int row) const { return begin(row) >= end(row); }

  // First row of [from, to) of which `holds` is true, or `to`; once true it stays so.
  template <class Predicate>
  __device__ int search(int from, int to, Predicate holds) const {
    const int lane = static_cast<int>(threadIdx.x) & 31;
    while (from < to) {
      const int stride = (to - from + 31) / 32;
      const int probe = from + (lane + 1) * stride - 1;
      const int before = __popc(__ballot_sync(~0u, probe < to && !holds(probe)));
      from += before * stride;
      to = min(to, from + stride - 1);
    }
    return from;
  }
  // The same of what holds here and there.
  template <class Predicate>
  __device__ int scan(int from, int to, Predicate holds) const {
    const int lane = static_cast<int>(threadIdx.x) & 31;
    for (; from < to; from += 32) {
      const unsigned found = __ballot_sync(~0u, from + lane < to && holds(from + lane));
      if (found != 0) return from + __ffs(static_cast<int>(found)) - 1;
    }
    return to;
  }
  // First row of [from, to) that attends to something, or `to`.
  __device__ int first_with_keys(int from, int to) const {
    return scan(from, to, [this](int row) { return !empty(row); });
  }

  // First row of the island of `row`, which attends to something.
  __device__ int island_begin(int row) const {
    const int first_key = begin(row);
    int first = search(0, row, [&](int r) { return begin(r) >= first_key && end(r) > first_key; });
    const int lane = static_cast<int>(threadIdx.x) & 31;
    while (!starts(first)) {
      const int before = first - 1 - lane;
      const unsigned found = __ballot_sync(~0u, before >= 0 && starts(before));
      first = found != 0 ? first - __ffs(static_cast<int>(found)) : first - 32;
    }
    return first;
  }
  // One past the last row of the island of `row`, or `limit`, if that comes before.
  __device__ int island_end(int row, int limit) const {
    const int first_key = begin(row);
    const int next = search(row + 1, limit, [&](int r) { return begin(r) > first_key; });
    return scan(next, limit, [this](int r) { return empty(r) || starts(r); });
  }

 private:
  __device__ bool starts(int row) const { return !empty(row) && (row == 0 || begin(row) >= end(row - 1)); }

  const std::int32_t* keys_;  // [rows, 2]
  int rows_;
};

// The keys that rows [row, row_end) attend to, kStep at a time, island after island.
template <int kStep>
class KeyWalk {
 public:
  struct Step {
    int key;  // [key, min(key + kStep, end))
    int end;  // of the keys of these rows in this island; 0: the walk is over
  };

  __device__ KeyWalk(const Ranges& ranges, int row, int row_end) : ranges_(ranges), row_(row), row_end_(row_end) {}

  __device__ Step next() {
    if (key_ >= end_) {
      row_ = ranges_.first_with_keys(row_, row_end_);
      if (row_ == row_end_) return {0, 0};
      const int origin = ranges_.begin(ranges_.island_begin(row_));
      key_ = origin + (ranges_.begin(row_) - origin) / kStep * kStep;
      row_ = ranges_.island_end(row_, row_end_);
      end_ = ranges_.end(row_ - 1);
    }
    const Step step{key_, end_};
    key_ += kStep;
    return step;
  }

 private:
  Ranges ranges_;
  int row_;
  int row_end_;
  int key_ = 0;
  int end_ = 0;
};

// The rows that attend to keys [key, key_end), kStep at a time: island after island, in it head after head.
template <int kStep>
class RowWalk {
 public:
  struct Step {
    int row;   // [row, min(row + kStep, end)); some may have no part in these keys
    int end;   // 0: the walk is over
    int head;  // of [head, head_end)
  };

  __device__ RowWalk(const Ranges& ranges, int key, int key_end, int head, int head_end)
      : ranges_(ranges), first_head_(head), head_end_(head_end), head_(head_end - 1) {
    next_ = ranges_.search(0, ranges_.rows(), [&](int r) { return ranges_.end(r) > key; });
    limit_ = ranges_.search(next_, ranges_.rows(), [&](int r) { return ranges_.begin(r) >= key_end; });
  }

  __device__ Step next() {
    if (row_ >= end_) {
      if (++head_ == head_end_) {
        const int row = ranges_.first_with_keys(next_, limit_);
        if (row == limit_) {
          head_ = head_end_ - 1;
          return {0, 0, 0};
        }
        const int origin = ranges_.island_begin(row);
        island_ = origin + (row - origin) / kStep * kStep;
        end_ = next_ = ranges_.island_end(row, limit_);
        head_ = first_head_;
      }
      row_ = island_;
    }
    const Step step{row_, end_, head_};
    row_ += kStep;
    return step;
  }

 private:
  Ranges ranges_;
  int first_head_;
  int head_end_;
  int head_;
  int next_;  // rows [next_, limit_) are yet to come
  int limit_;
  int island_ = 0;  // its first step
  int row_ = 0;
  int end_ = 0;
};

}  // namespace trireme::cuda
