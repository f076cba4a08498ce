#include "trainer/optim/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trireme {

double learning_rate(const config::Optimizer& optimizer, std::int64_t step, std::int64_t steps) {
  const double peak = optimizer.learning_rate();
  const double floor = std::min(optimizer.min_learning_rate(), peak);
  const std::int64_t warmup = optimizer.warmup_steps();
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  switch (optimizer.decay()) {
    case config::Optimizer::constant:
      return peak;
    case config::Optimizer::cosine: {
      const std::int64_t span = std::max<std::int64_t>(1, steps - 1 - warmup);
      const double done = std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(span));
      return floor + 0.5 * (peak - floor) * (1 + std::cos(std::numbers::pi * done));
    }
    case config::Optimizer::wsd: {
      const auto span =
          std::max<std::int64_t>(1, std::llround(optimizer.decay_fraction() * static_cast<double>(steps)));
      const std::int64_t begin = steps - span;
      if (step < begin) return peak;
      return peak + (floor - peak) * std::min(1.0, static_cast<double>(step - begin + 1) / static_cast<double>(span));
    }
  }
  return peak;
}

}  // namespace trireme
