// Arithmetic of vector clocks (tests/gpu/memory/operation.h): of two operations one comes after the other exactly when
// its clock includes the other's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tests/gpu/memory/operation.h"

namespace trireme::gpu {

inline std::uint64_t at(const Clock& clock, std::uint32_t stream) { return stream < clock.size() ? clock[stream] : 0; }

inline void set(Clock& clock, std::uint32_t stream, std::uint64_t number) {
  if (clock.size() <= stream) clock.resize(stream + 1);
  clock[stream] = number;
}

inline void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

inline bool includes(const Clock& clock, const Clock& part) {
  for (std::size_t i = 0; i < part.size(); ++i)
    if (part[i] > at(clock, static_cast<std::uint32_t>(i))) return false;
  return true;
}

}  // namespace trireme::gpu
