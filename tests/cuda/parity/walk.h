// The parity walk: every op of the table of a back end against its oracle. To add an op: its oracle in
// tests/cuda/oracle, its case in a list below. `ops_without_a_case` is how a test notices that this was forgotten.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/cuda/parity/trial.h"

namespace trireme::parity {

struct Case {
  std::string op;    // as in cuda/ops/kernels.h
  std::size_t slot;  // its place in the table
  void (*run)(Trial&);
};
using Cases = std::vector<Case>;

inline constexpr std::size_t kOps = sizeof(Kernels) / sizeof(void (*)());

template <class Op>
Case make_case(const char* op, Op Kernels::*entry, void (*run)(Trial&)) {
  static const Kernels table{};
  const auto* from = reinterpret_cast<const std::byte*>(&table);
  const auto* to = reinterpret_cast<const std::byte*>(&(table.*entry));
  return {op, static_cast<std::size_t>(to - from) / sizeof(Op), run};
}

// A file each.
Cases linear_cases();
Cases attention_cases();
Cases embedding_cases();
Cases norm_cases();
Cases pointwise_cases();  // rope too
Cases random_cases();     // dropout, initial weights
Cases cross_entropy_cases();
Cases whole_tensor_cases();
Cases optimizer_cases();

Cases all_cases();                              // in the order of the table
std::vector<std::size_t> ops_without_a_case();  // slots
Report run_case(const Case& which, Device& device, const Kernels& kernels);
Report walk(Device& device, const Kernels& kernels);

}  // namespace trireme::parity
