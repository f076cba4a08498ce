#include "trainer/model/parameters.h"

#include "cuda/core/philox.h"

namespace trireme {

ParamIndex ParamList::declare(ParamSpec spec) {
  bool tied_found = spec.tied_to.empty();
  for (const ParamSpec& other : specs_) {
    CHECK(other.name != spec.name, "two parameters are called ", spec.name);
    if (other.name == spec.tied_to) {
      CHECK(other.shape == spec.shape && other.tied_to.empty(), spec.name, " is tied to ", other.name);
      tied_found = true;
    }
  }
  CHECK(tied_found, spec.name, " is tied to ", spec.tied_to, ", which is not declared");
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

Parameters::Parameters(Context& context, std::span<const ParamSpec> specs, DType dtype, const AxisPlaces& places)
    : specs_(specs.begin(), specs.end()), plan_(plan_buckets(specs, places)), dtype_(dtype) {
  for (ParamIndex index = 0; index < specs_.size(); ++index) {
    ParamIndex owner = index;
    for (ParamIndex other = 0; other < index; ++other)
      if (specs_[other].name == specs_[index].tied_to) owner = other;
    owner_.push_back(owner);
  }
  values_ = context.arena->allocate({plan_.elements}, dtype, "parameters");
}

Tensor Parameters::value(ParamIndex index) const {
  const BucketPlan::Parameter& parameter = plan_.parameters.at(owner_.at(index));
  return values_->flat(parameter.begin, parameter.begin + parameter.box.elements()).view(parameter.box.size);
}

void initialize(const Context& context, Tensor x, const ParamSpec& spec, const Shape& begin, std::uint64_t seed) {
  switch (spec.init.kind) {
    case Init::Kind::kNormal:
      context.ops->init_normal(context.compute, x, spec.shape, begin, key_of(seed, spec.name), spec.init.std);
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
