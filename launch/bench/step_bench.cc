#include "launch/bench/step_bench.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "launch/bench/own_steps.h"
#include "monitoring/check.h"

namespace trireme {

double median(std::vector<double> values) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::vector<double> StepResult::ratios() const {
  std::vector<double> ratios;
  for (std::size_t turn = 0; turn < peer_seconds.size(); ++turn)
    ratios.push_back(peer_seconds[turn] / own_seconds[turn]);
  return ratios;
}

StepResult measure_steps(const StepBench& bench, const PeerCommand* command,
                         const std::function<void(const std::string&)>& report) {
  StepResult result;
  std::optional<PeerSteps> peer;
  if (command != nullptr) {
    peer.emplace(*command, bench.workload, bench.precision, bench.threads);
    result.peer = peer->description();
  }
  OwnSteps own(bench.workload, bench.precision, bench.threads);
  result.flops_per_token = own.flops_per_token();
  const auto tokens = static_cast<double>(bench.workload.tokens());
  for (int turn = 0; turn < bench.alternations; ++turn) {
    const auto ours = [&] { result.own_seconds.push_back(median(own.seconds_of(bench.steps))); };
    const auto theirs = [&] { result.peer_seconds.push_back(median(peer->seconds_of(bench.steps))); };
    result.peak_flops = std::max(result.peak_flops, own.gemm_peak());
    if (peer && turn % 2 == 1) theirs();  // neither always follows the other
    ours();
    if (peer && turn % 2 == 0) theirs();
    std::string line =
        fmt::format("  {} of {}: {:.0f} tokens/s", turn + 1, bench.alternations, tokens / result.own_seconds.back());
    if (peer)
      line +=
          fmt::format(", PyTorch {:.0f}, ratio {:.2f}", tokens / result.peer_seconds.back(), result.ratios().back());
    report(line + "\n");
  }
  result.loss = own.loss();
  return result;
}

}  // namespace trireme
