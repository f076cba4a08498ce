#include "tests/cuda/parity/walk.h"

#include <algorithm>

namespace trireme::parity {

Cases all_cases() {
  Cases all;
  for (Cases (*list)() : {linear_cases, attention_cases, embedding_cases, norm_cases, pointwise_cases, random_cases,
                          cross_entropy_cases, whole_tensor_cases, optimizer_cases}) {
    const Cases some = list();
    all.insert(all.end(), some.begin(), some.end());
  }
  std::sort(all.begin(), all.end(), [](const Case& a, const Case& b) { return a.slot < b.slot; });
  return all;
}

std::vector<std::size_t> ops_without_a_case() {
  std::vector<bool> covered(kOps);
  for (const Case& one : all_cases()) covered[one.slot] = true;
  std::vector<std::size_t> missing;
  for (std::size_t slot = 0; slot < kOps; ++slot)
    if (!covered[slot]) missing.push_back(slot);
  return missing;
}

Report run_case(const Case& which, Device& device, const Kernels& kernels) {
  Trial trial(device, kernels, which.op);
  which.run(trial);
  trial.forget();
  return std::move(trial.report);
}

Report walk(Device& device, const Kernels& kernels) {
  Report report;
  for (const Case& one : all_cases()) {
    Report part = run_case(one, device, kernels);
    report.insert(report.end(), part.begin(), part.end());
  }
  return report;
}

}  // namespace trireme::parity
