// What many ranks hold in boxes, as whole tensors again, and proof that it fits: every element is there, and where two
// ranks hold the same element they hold the same bits.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "parallel/placement/param_spec.h"

namespace trireme {

class WholeAssembly {
 public:
  // Rank `rank`'s values of the box, row-major in it. What is tied goes to its owner. CHECKs their number.
  void add(const ParamSpec& spec, const Box& box, const std::vector<float>& values, int rank);

  // "layers.0.mlp.up.weight differs between ranks 0 and 2, first at element 17: 0.25 and 0.5", one for each tensor.
  std::vector<std::string> disagreements() const;
  // Of `specs`, those with elements that no rank holds; one line each.
  std::vector<std::string> gaps(const std::vector<ParamSpec>& specs) const;
  std::map<std::string, std::vector<float>> take();

 private:
  struct Whole {
    std::vector<float> values;
    std::vector<int> holder;  // the first rank that brought the element; -1: none
    std::string disagreement;
  };
  std::map<std::string, Whole> wholes_;
};

}  // namespace trireme
