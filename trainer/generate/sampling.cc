#include "trainer/generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/core/philox.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

void check_sampling(const SamplingOptions& options) {
  const auto refuse = [](const std::string& what) { throw UserError("sampling: " + what); };
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    refuse("the temperature must be 0 or more, not " + std::to_string(options.temperature));
  if (options.top_k < 0) refuse("top-k must be 0 (all) or more, not " + std::to_string(options.top_k));
  if (!(options.top_p > 0 && options.top_p <= 1))
    refuse("top-p must be above 0 and at most 1, not " + std::to_string(options.top_p));
}

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, std::int64_t position) {
  CHECK(!logits.empty());
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const float la = logits[static_cast<std::size_t>(a)];
    const float lb = logits[static_cast<std::size_t>(b)];
    return la != lb ? la > lb : a < b;
  };
  if (options.temperature == 0) return *std::min_element(ids.begin(), ids.end(), likelier);
  std::sort(ids.begin(), ids.end(), likelier);
  if (options.top_k > 0 && static_cast<std::size_t>(options.top_k) < ids.size())
    ids.resize(static_cast<std::size_t>(options.top_k));

  const double highest = logits[static_cast<std::size_t>(ids.front())];
  std::vector<double> weights;
  for (const std::int32_t id : ids)
    weights.push_back(std::exp((logits[static_cast<std::size_t>(id)] - highest) / options.temperature));
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (options.top_p < 1) {
    double reached = 0;
    std::size_t kept = 0;
    while (kept < weights.size() && reached < options.top_p * total) reached += weights[kept++];
    weights.resize(kept);
    total = reached;
  }

  const auto at = static_cast<std::uint64_t>(position);
  const PhiloxBlock block = philox(key_of(options.seed, "sampling"), static_cast<std::uint32_t>(at),
                                   static_cast<std::uint32_t>(at >> 32), 0, 0);
  const double uniform = (block.lane[0] * 0x1p-32 + block.lane[1] * 0x1p-64) * total;
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (uniform < sum) return ids[i];
  }
  return ids[weights.size() - 1];
}

}  // namespace trireme
