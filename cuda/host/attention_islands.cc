#include "cuda/host/attention_islands.h"

#include <algorithm>

#include "monitoring/check.h"

namespace trireme::host {

std::vector<Island> find_islands(const std::int32_t* keys, std::int64_t rows, std::int64_t all_keys) {
  std::vector<Island> islands;
  std::int64_t last_begin = 0;
  std::int64_t last_end = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t begin = keys[2 * row];
    const std::int64_t end = keys[2 * row + 1];
    CHECK(last_begin <= begin && last_end <= end && begin <= end && end <= all_keys, "attention: row ", row,
          " attends to keys [", begin, ", ", end, ") of ", all_keys, ", the row before to [", last_begin, ", ",
          last_end, ")");
    last_begin = begin;
    last_end = end;
    const bool joins = !islands.empty() && (begin == end || begin < islands.back().key_end);
    if (joins) {
      islands.back().row_end = row + 1;
      if (begin < end) islands.back().key_end = end;
    } else {
      islands.push_back({row, row + 1, begin, end});
    }
  }
  return islands;
}

}  // namespace trireme::host
