// An instruction that works on each lane alone is a function from operands to a result. The tests of such models give
// that function once more, written from the PTX ISA's text in plain C++, and this compares the two on every pair of
// edge values (for three operands: on many random triples of them) and on random bits, with all lanes and with some
// that must keep what their registers held.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iomanip>
#include <random>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/gpu/execute/one_instruction.h"

namespace trireme::gpu {

// Numbers on which instructions of that width go wrong, whatever the type is that they see in the bits.
const std::vector<std::uint64_t>& edge_values(std::size_t bytes);  // 0: predicates

template <class T>
constexpr std::size_t register_bytes() {
  return std::is_same_v<T, bool> ? 0 : sizeof(T);
}
template <class T>
constexpr char register_letter() {
  return std::is_same_v<T, bool> ? 'p' : sizeof(T) == 2 ? 'h' : sizeof(T) == 4 ? 'w' : 'd';
}

template <class T>
std::uint64_t to_bits(T value) {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<std::uint32_t>(value);
  if constexpr (std::is_same_v<T, double>) return std::bit_cast<std::uint64_t>(value);
  if constexpr (std::is_same_v<T, bool>) return value ? 1 : 0;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return static_cast<std::make_unsigned_t<T>>(value);
}
template <class T>
T from_bits(std::uint64_t bits) {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  if constexpr (std::is_same_v<T, double>) return std::bit_cast<double>(bits);
  if constexpr (std::is_same_v<T, bool>) return bits != 0;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return static_cast<T>(bits);
}

// Results that the ISA fixes to the bit; of NaN, f32 gives 0x7FFFFFFF and f64 any.
struct Exactly {
  template <class R>
  bool operator()(R expected, R actual) const {
    if constexpr (std::is_same_v<R, float>) {
      if (std::isnan(expected)) return to_bits(actual) == 0x7FFFFFFF;
    }
    if constexpr (std::is_same_v<R, double>) {
      if (std::isnan(expected)) return std::isnan(actual);
    }
    return to_bits(expected) == to_bits(actual);
  }
};
// The same, any NaN being good for a NaN.
struct AnyNan {
  template <class R>
  bool operator()(R expected, R actual) const {
    return (std::isnan(expected) && std::isnan(actual)) || to_bits(expected) == to_bits(actual);
  }
};

namespace elementwise {

constexpr std::size_t kRandomThreads = 1536;

// Draws from: the edges, uniform bits, and edges with some bits flipped.
std::uint64_t draw(std::mt19937_64& generator, std::size_t bytes);
std::vector<std::vector<std::uint64_t>> operand_rows(const std::vector<std::size_t>& bytes, std::uint64_t seed);
std::string row_text(const std::vector<std::uint64_t>& row);

}  // namespace elementwise

// Specialised by signature: Elementwise<float(float, float)>.
template <class Signature>
class LaneByLane;

template <class R, class... A>
class LaneByLane<R(A...)> {
 public:
  using Row = std::array<std::uint64_t, sizeof...(A)>;

  // `instruction`: "add.s32"; operands are appended in order. Or a whole text with $0, $1, ...
  LaneByLane(std::string instruction, std::function<R(A...)> reference)
      : name_(std::move(instruction)), reference_(std::move(reference)) {}

  // Operands for which the ISA promises nothing.
  LaneByLane& unless(std::function<bool(A...)> undefined) {
    undefined_ = std::move(undefined);
    return *this;
  }
  LaneByLane& also(std::vector<std::tuple<A...>> rows) {
    more_ = std::move(rows);
    return *this;
  }

  template <class Same = Exactly>
  void holds(const Same& same = {}) const {
    const OneInstruction instruction = described();
    std::vector<Thread> threads = all_threads();
    std::mt19937_64 generator(threads.size());
    compare(instruction, threads, Guard::kNone, same);
    std::shuffle(threads.begin(), threads.end(), generator);
    threads.resize(std::min<std::size_t>(threads.size(), 1024));
    for (auto& thread : threads) thread.takes_part = generator() % 3 != 0;
    compare(instruction, threads, Guard::kPredicate, same);
  }

 private:
  OneInstruction described() const {
    OneInstruction instruction{.results = {register_letter<R>()}, .operands = {register_letter<A>()...}};
    instruction.text = name_;
    if (name_.find('$') == std::string::npos) {
      for (std::size_t i = 0; i <= sizeof...(A); ++i)
        instruction.text.append(i == 0 ? " $" : ", $").append(std::to_string(i));
    }
    instruction.text.append(";");
    return instruction;
  }

  std::vector<Thread> all_threads() const {
    auto rows = elementwise::operand_rows({register_bytes<A>()...}, name_.size());
    for (const auto& row : more_) {
      std::apply([&](const auto&... value) { rows.push_back({to_bits(value)...}); }, row);
    }
    std::mt19937_64 generator(rows.size());
    std::vector<Thread> threads;
    for (auto& row : rows) {
      if (undefined_ && call(undefined_, row)) continue;
      std::uint64_t kept = generator();
      if (register_bytes<R>() == 0) kept &= 1;
      threads.push_back({.kept = {kept}, .operands = std::move(row)});
    }
    return threads;
  }

  template <class Function>
  static auto call(const Function& function, const std::vector<std::uint64_t>& row) {
    return call_at(function, row, std::index_sequence_for<A...>{});
  }
  template <class Function, std::size_t... kIndex>
  static auto call_at(const Function& function, const std::vector<std::uint64_t>& row, std::index_sequence<kIndex...>) {
    return function(from_bits<A>(row[kIndex])...);
  }

  template <class Same>
  void compare(const OneInstruction& instruction, const std::vector<Thread>& threads, Guard guard,
               const Same& same) const {
    const Outcome outcome = run_one(instruction, threads, guard);
    int complaints = 0;
    for (std::size_t i = 0; i < threads.size() && complaints < 4; ++i) {
      const Thread& thread = threads[i];
      const std::uint64_t actual = outcome.results[i][0];
      const bool takes_part = guard == Guard::kNone || thread.takes_part;
      const R expected = takes_part ? call(reference_, thread.operands) : from_bits<R>(thread.kept[0]);
      const bool good = takes_part ? same(expected, from_bits<R>(actual)) : to_bits(expected) == actual;
      if (good) continue;
      ++complaints;
      ADD_FAILURE() << instruction.text << " of" << elementwise::row_text(thread.operands) << " gives"
                    << elementwise::row_text({actual}) << ", not" << elementwise::row_text({to_bits(expected)})
                    << (takes_part ? "" : " (the lane takes no part)");
    }
  }

  std::string name_;
  std::function<R(A...)> reference_;
  std::function<bool(A...)> undefined_{};
  std::vector<std::tuple<A...>> more_{};
};

}  // namespace trireme::gpu
