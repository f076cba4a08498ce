#include "trainer/verify/whole.h"

#include <bit>
#include <cstdint>

#include <fmt/format.h>

#include "monitoring/check.h"

namespace trireme {

void WholeAssembly::add(const ParamSpec& spec, const Box& box, const std::vector<float>& values, int rank) {
  CHECK(static_cast<std::int64_t>(values.size()) == box.elements(), values.size(), " values for ", to_string(box));
  Whole& whole = wholes_[spec.tied_to.empty() ? spec.name : spec.tied_to];
  whole.values.resize(static_cast<std::size_t>(spec.shape.elements()));
  whole.holder.resize(whole.values.size(), -1);
  if (box.empty()) return;
  for_each_run(spec.shape, box, [&](BoxRun run) {
    for (std::int64_t i = 0; i < run.count; ++i) {
      const auto to = static_cast<std::size_t>(run.global + i);
      const float value = values[static_cast<std::size_t>(run.local + i)];
      if (whole.holder[to] < 0) {
        whole.holder[to] = rank;
        whole.values[to] = value;
      } else if (std::bit_cast<std::uint32_t>(whole.values[to]) != std::bit_cast<std::uint32_t>(value) &&
                 whole.disagreement.empty()) {
        whole.disagreement = fmt::format("{} differs between ranks {} and {}, first at element {}: {} and {}",
                                         spec.name, whole.holder[to], rank, to, whole.values[to], value);
      }
    }
  });
}

std::vector<std::string> WholeAssembly::disagreements() const {
  std::vector<std::string> found;
  for (const auto& [name, whole] : wholes_)
    if (!whole.disagreement.empty()) found.push_back(whole.disagreement);
  return found;
}

std::vector<std::string> WholeAssembly::gaps(const std::vector<ParamSpec>& specs) const {
  std::vector<std::string> found;
  for (const ParamSpec& spec : specs) {
    if (!spec.tied_to.empty()) continue;
    const auto held = wholes_.find(spec.name);
    if (held == wholes_.end()) {
      found.push_back(fmt::format("{} is held by no rank", spec.name));
      continue;
    }
    for (std::size_t i = 0; i < held->second.holder.size(); ++i)
      if (held->second.holder[i] < 0) {
        found.push_back(fmt::format("{}: element {} is held by no rank", spec.name, i));
        break;
      }
  }
  return found;
}

std::map<std::string, std::vector<float>> WholeAssembly::take() {
  std::map<std::string, std::vector<float>> values;
  for (auto& [name, whole] : wholes_) values[name] = std::move(whole.values);
  return values;
}

}  // namespace trireme
