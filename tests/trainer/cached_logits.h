// Logits of the stage under test by the only way that hands them out: generation, which keeps keys and values.
#pragma once

#include <vector>

#include "tests/trainer/small_run.h"

namespace trireme {

// Feeds one text to a stage, some tokens at a time.
class CachedText {
 public:
  explicit CachedText(SmallRun& run, std::int64_t capacity);
  // Logits [V] after these tokens, which follow those fed before.
  std::vector<double> extend(const std::vector<std::int32_t>& tokens);

 private:
  SmallRun& run_;
  KvCaches caches_;
};

}  // namespace trireme
