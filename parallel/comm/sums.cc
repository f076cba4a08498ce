#include "parallel/comm/sums.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace trireme {
namespace {

constexpr std::size_t kBlock = 2048;  // elements: a level of the tree stays in the cache

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;  // wraps
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    } else {
      return a + b;
    }
  }
};

struct Max {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) return a > b || a != a ? a : b;
    return a > b ? a : b;
  }
};

template <class T, class Combine>
void combine(T* to, const T* a, const T* b, std::size_t count) {
  const Combine both;
  for (std::size_t i = 0; i < count; ++i) to[i] = both(a[i], b[i]);
}

template <class T, class Combine>
void reduce(std::byte* to_bytes, std::span<const std::byte* const> parts, std::size_t count) {
  T* to = reinterpret_cast<T*>(to_bytes);
  auto part = [&](std::size_t i) { return reinterpret_cast<const T*>(parts[i]); };
  if (parts.size() == 1) {
    if (to != part(0)) std::copy_n(part(0), count, to);
    return;
  }
  if (parts.size() == 2) return combine<T, Combine>(to, part(0), part(1), count);

  const std::size_t pairs = parts.size() / 2;
  std::vector<T> scratch(pairs * kBlock);
  std::vector<const T*> level;
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t n = std::min(kBlock, count - begin);
    level.clear();
    for (std::size_t i = 0; i < parts.size(); ++i) level.push_back(part(i) + begin);
    while (level.size() > 1) {
      std::size_t next = 0;
      for (std::size_t i = 0; i + 1 < level.size(); i += 2, ++next) {
        // The pair's own place in scratch, or a lower one that was read already.
        T* sum = level.size() == 2 ? to + begin : scratch.data() + next * kBlock;
        combine<T, Combine>(sum, level[i], level[i + 1], n);
        level[next] = sum;
      }
      if (level.size() % 2 == 1) level[next++] = level.back();
      level.resize(next);
    }
  }
}

}  // namespace

void reduce_tree(std::byte* to, std::span<const std::byte* const> parts, std::size_t count, DType dtype,
                 Reduction reduction) {
  CHECK(!parts.empty(), "a sum of nothing");
  const bool sum = reduction == Reduction::kSum;
  switch (dtype) {
    case DType::kF32:
      return sum ? reduce<float, Sum>(to, parts, count) : reduce<float, Max>(to, parts, count);
    case DType::kI64:
      return sum ? reduce<std::int64_t, Sum>(to, parts, count) : reduce<std::int64_t, Max>(to, parts, count);
    case DType::kI32:
      return sum ? reduce<std::int32_t, Sum>(to, parts, count) : reduce<std::int32_t, Max>(to, parts, count);
    default:
      CHECK(false, "no reduction of ", name_of(dtype));
  }
}

Slice slice_of(std::size_t count, int size, int rank) {
  constexpr std::size_t kLine = 16;
  const std::size_t lines = (count + kLine - 1) / kLine;
  const auto ranks = static_cast<std::size_t>(size);
  const auto begin = lines * static_cast<std::size_t>(rank) / ranks * kLine;
  const auto end = lines * (static_cast<std::size_t>(rank) + 1) / ranks * kLine;
  return {std::min(begin, count), std::min(end, count)};
}

}  // namespace trireme
