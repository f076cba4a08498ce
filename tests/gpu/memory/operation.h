// Whether two operations of different streams are ordered does not depend on when they happen to run. Every operation
// (launch, copy, memset, collective, GEMM) therefore carries a vector clock: which operations of each stream had
// happened, by streams, events and host synchronisation, before it could start.
//
// Invariant: operations of one stream are numbered 1, 2, 3, ... and each clock includes its own stream's earlier ones.
// Host accesses that the device could see (none: the stand-in has no managed memory) would be a stream of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::gpu {

// before[s]: the highest number of stream s that happened before; streams beyond the end: none.
using Clock = std::vector<std::uint64_t>;

// `before` and `label` must live until the call that takes the operation returns.
struct Operation {
  std::uint32_t stream = 0;
  std::uint64_t number = 0;
  const Clock* before = nullptr;  // null: everything so far happened before (tests, and a device with one stream)
  std::string label{};            // "kernel rmsnorm_forward on stream 2", for findings
  const Clock* known = nullptr;   // what the host had waited for when it put this there; null: for everything
};

}  // namespace trireme::gpu
