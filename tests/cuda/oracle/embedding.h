// The embedding's oracle. dtable is a sum over rows, so its terms are counted from what was there before.
#pragma once

#include "tests/cuda/oracle/result.h"

namespace trireme::oracle {

// y [R, C]; before [R, C] is what y held (Write::kAdd) or empty.
inline Result embedding_forward(const Values& ids, const Values& table, std::int64_t first, std::size_t columns,
                                const Values& before) {
  const auto entries = static_cast<std::int64_t>(table.size() / columns);
  Result y(ids.size() * columns);
  for (std::size_t r = 0; r < ids.size(); ++r) {
    const auto entry = static_cast<std::int64_t>(ids[r]) - first;
    for (std::size_t c = 0; c < columns; ++c) {
      if (!before.empty()) y.add(r * columns + c, before[r * columns + c]);
      if (entry >= 0 && entry < entries) y.add(r * columns + c, table[static_cast<std::size_t>(entry) * columns + c]);
    }
  }
  return y;
}

// before [N, C] is what dtable held.
inline Result embedding_backward(const Values& before, const Values& ids, const Values& dy, std::int64_t first,
                                 std::size_t columns) {
  Result dtable(before.size());
  const auto entries = static_cast<std::int64_t>(before.size() / columns);
  for (std::size_t at = 0; at < before.size(); ++at) dtable.add(at, before[at]);
  for (std::size_t r = 0; r < ids.size(); ++r) {
    const auto entry = static_cast<std::int64_t>(ids[r]) - first;
    if (entry < 0 || entry >= entries) continue;
    for (std::size_t c = 0; c < columns; ++c)
      dtable.add(static_cast<std::size_t>(entry) * columns + c, dy[r * columns + c]);
  }
  return dtable;
}

}  // namespace trireme::oracle
