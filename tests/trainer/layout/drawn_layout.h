// Random models and random layouts of them, for the claim that the layout does not matter; and an account of what was
// drawn, for a property that was never tried at size 2 or more was not tested.
#pragma once

#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include <rapidcheck.h>

#include "trainer/step/training_step.h"

namespace trireme {

struct DrawnLayout {
  Experiment experiment;
  Layout layout;
  std::int64_t micro_batch = 1;

  std::int64_t micro_batches() const;  // of the first rank
};
std::ostream& operator<<(std::ostream& out, const DrawnLayout& drawn);

// Models of both families, tied or not, of odd sizes, some with fewer heads of K and V than tp, with dropout of both
// kinds, smoothing and z-loss or without; layouts of 1 to `most_ranks` ranks, axes in any order. Exact numerics, in
// fp32 and bf16, only without tp, where they are promised.
rc::Gen<DrawnLayout> draw_layout(int most_ranks);
// The one of this number.
DrawnLayout drawn_layout(std::uint64_t seed, int most_ranks);

// Counts the features that cases have, pairs of them, and on how many each planted mistake could matter.
class Coverage {
 public:
  void add(const DrawnLayout& drawn);
  // What every run of the property must have met: "dp x tp", "zero 2 x interleaved-1f1b", "kv heads < tp", ...
  std::vector<std::string> missing() const;
  std::string table() const;

 private:
  std::map<std::string, int> counts_;
  int cases_ = 0;
};

}  // namespace trireme
