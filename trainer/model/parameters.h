// Layers declare the parameters that they need; a rank then holds the values of the ones that it owns. Between the two
// stand the ParamSpecs, which are all that initialisation, gradient buckets, norms and checkpoints ever see: none of
// them knows a layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "parallel/data/bucket_plan.h"

namespace trireme {

using ParamIndex = std::size_t;

// The parameters of a model in the order of its forward pass.
class ParamList {
 public:
  // What is declared from here on is gathered and freed at once (ParamSpec::unit).
  void begin_unit(std::string name) { unit_ = std::move(name); }
  ParamIndex declare(ParamSpec spec);  // CHECKs that the name is new and that what it is tied to exists
  std::size_t count() const { return specs_.size(); }
  const std::vector<ParamSpec>& specs() const { return specs_; }
  std::vector<ParamSpec>& specs() { return specs_; }
  ParamIndex find(const std::string& name) const;  // CHECKs that it exists

 private:
  std::vector<ParamSpec> specs_;
  std::string unit_;
};

// The values of this rank's boxes, in context.arena, category "parameters", laid out as their gradients are. A tied
// parameter uses its owner's; its own place is not used.
class Parameters {
 public:
  // A rank alone, or one of many at `places`.
  Parameters(Context& context, std::span<const ParamSpec> specs, DType dtype, const AxisPlaces& places = {});

  DType dtype() const { return dtype_; }
  const BucketPlan& plan() const { return plan_; }
  std::size_t count() const { return specs_.size(); }
  const ParamSpec& spec(ParamIndex index) const { return specs_[index]; }
  const Box& box(ParamIndex index) const { return plan_.parameters[index].box; }  // that this rank holds
  // The parameter whose values `index` uses: itself, or the one that it is tied to.
  ParamIndex owner(ParamIndex index) const { return owner_[index]; }
  bool owned(ParamIndex index) const { return owner_[index] == index; }
  Tensor value(ParamIndex index) const;  // its box's shape

 private:
  std::vector<ParamSpec> specs_;
  std::vector<ParamIndex> owner_;
  BucketPlan plan_;
  ArenaTensor values_;  // [plan.elements]
  DType dtype_;
};

// Writes the initial values of `spec`'s box at `begin` into `x`: a function of (seed, name, element), whatever the box.
void initialize(const Context& context, Tensor x, const ParamSpec& spec, const Shape& begin, std::uint64_t seed);

}  // namespace trireme
