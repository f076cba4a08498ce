#include "trainer/model/parameters.h"

#include <algorithm>

#include "cuda/core/philox.h"

namespace trireme {

ParamIndex ParamList::declare(ParamSpec spec) {
  for (const ParamSpec& other : specs_) {
    CHECK(other.name != spec.name, "two parameters are called ", spec.name);
    if (other.name == spec.tied_to)
      CHECK(other.shape == spec.shape && other.tied_to.empty(), spec.name, " is tied to ", other.name);
  }
  if (spec.unit.empty()) spec.unit = unit_;
  specs_.push_back(std::move(spec));
  return specs_.size() - 1;
}

ParamIndex ParamList::find(const std::string& name) const {
  for (ParamIndex index = 0; index < specs_.size(); ++index)
    if (specs_[index].name == name) return index;
  CHECK(false, "no parameter is called ", name);
  return 0;
}

Parameters::Parameters(Context& context, std::span<const ParamSpec> specs, DType dtype, const Sharing& sharing)
    : specs_(specs.begin(), specs.end()),
      places_(sharing.places),
      values_(context, plan_buckets(specs, sharing.places, sharing.zero_stage), dtype, sharing.travel) {}

std::vector<std::size_t> Parameters::units_of(ParamRange range) const {
  std::vector<std::size_t> units;
  for (ParamIndex index = range.first; index < range.last; ++index) {
    const std::size_t unit = plan().parameters[owner(index)].unit;
    if (std::find(units.begin(), units.end(), unit) == units.end()) units.push_back(unit);
  }
  return units;
}

Parameters::Hold Parameters::hold(ParamRange now, ParamRange next) const {
  std::vector<std::size_t> units = units_of(now);
  values_.hold(units);
  values_.expect(units_of(next));
  return {values_, std::move(units)};
}

void initialize(const Context& context, Tensor x, const ParamSpec& spec, const Shape& begin, std::uint64_t seed) {
  switch (spec.init.kind) {
    case Init::Kind::kNormal:
      // A replica begins as what it is tied to.
      context.ops->init_normal(context.compute, x, spec.shape, begin,
                               key_of(seed, spec.tied_to.empty() ? spec.name : spec.tied_to), spec.init.std);
      break;
    case Init::Kind::kZeros:
      context.ops->fill(context.compute, x, 0);
      break;
    case Init::Kind::kOnes:
      context.ops->fill(context.compute, x, 1);
      break;
  }
}

}  // namespace trireme
