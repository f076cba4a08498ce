// A sum over rows has one order if a column belongs to one thread. Internal to cuda/host.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/host/host_stream.h"

namespace trireme::host {

// body(begin, end) over ranges of columns that begin on multiples of 64 (a cache line of bf16 or two).
template <class Body>
void parallel_columns(int threads, std::int64_t columns, const Body& body) {
  constexpr std::int64_t kColumns = 64;
  parallel_for(threads, (columns + kColumns - 1) / kColumns, [&](std::int64_t begin, std::int64_t end) {
    body(begin * kColumns, std::min(end * kColumns, columns));
  });
}

}  // namespace trireme::host
