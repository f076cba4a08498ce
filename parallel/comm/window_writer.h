// How to write what another rank will read next depends on where the two run. Cores that share a cache hand lines over
// at its speed; between others, on two sockets or two dies, a line that is dirty in a cache comes at a fifth of the
// memory's, and writing past the caches is three times as fast. Nothing says which it is, and virtual machines move, so
// both ways are timed and the better is used.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>

#include "parallel/comm/call.h"

namespace trireme {

class WindowWriter {
 public:
  // Around a collective that moves `bytes`; small ones are left to the cache and tell nothing.
  void begin(Op op, std::size_t bytes);
  void end();
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) const;

 private:
  enum Way : std::size_t { kThroughCache, kPastCache };

  struct Record {  // of one op
    std::uint64_t calls = 0;
    std::array<double, 2> seconds_per_byte{};  // by way; 0: not known yet
  };

  std::map<Op, Record> records_;
  Record* record_ = nullptr;  // of the call under way; null for a small one
  Way way_ = kThroughCache;
  std::size_t bytes_ = 0;
  std::chrono::steady_clock::time_point began_{};
};

}  // namespace trireme
