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
#include "parallel/data/value_buckets.h"

namespace trireme {

using ParamIndex = std::size_t;

// Parameters [first, last) of a list.
struct ParamRange {
  ParamIndex first = 0;
  ParamIndex last = 0;
};

// The parameters of a model, or of the stages of it that a rank holds, in the order of the forward pass.
class ParamList {
 public:
  // What is declared from here on is gathered and freed at once (ParamSpec::unit).
  void begin_unit(std::string name) { unit_ = std::move(name); }
  // CHECKs that the name is new. What it is tied to may be another rank's; this rank then holds a replica.
  ParamIndex declare(ParamSpec spec);
  std::size_t count() const { return specs_.size(); }
  const std::vector<ParamSpec>& specs() const { return specs_; }
  std::vector<ParamSpec>& specs() { return specs_; }
  ParamIndex find(const std::string& name) const;  // CHECKs that it exists

 private:
  std::vector<ParamSpec> specs_;
  std::string unit_;
};

// The values of this rank's boxes, laid out as BucketPlan says. A parameter that is tied to one of this rank's has no
// values of its own.
class Parameters {
 public:
  // How they are cut over ranks, and kept together.
  struct Sharing {
    AxisPlaces places{};
    int zero_stage = 0;
    ValueBuckets::Travel travel{};
  };
  Parameters(Context& context, std::span<const ParamSpec> specs, DType dtype) : Parameters(context, specs, dtype, {}) {}
  Parameters(Context& context, std::span<const ParamSpec> specs, DType dtype, const Sharing& sharing);

  DType dtype() const { return values_.dtype(); }
  const BucketPlan& plan() const { return values_.plan(); }
  const AxisPlaces& places() const { return places_; }
  std::size_t count() const { return specs_.size(); }
  const ParamSpec& spec(ParamIndex index) const { return specs_[index]; }
  const Box& box(ParamIndex index) const { return plan().parameters[index].box; }  // that this rank holds
  std::span<const ParamSpec> specs() const { return specs_; }
  // The parameter whose values `index` uses: itself, or the one that it is tied to.
  ParamIndex owner(ParamIndex index) const { return plan().parameters[index].owner; }
  bool owned(ParamIndex index) const { return owner(index) == index; }

  // The values of `now` may be used while the hold lives, and are wanted on the compute stream from here on; those of
  // `next` are held next. ZeRO gathers and frees by it.
  class [[nodiscard]] Hold {
   public:
    Hold(ValueBuckets& values, std::vector<std::size_t> units) : values_(values), units_(std::move(units)) {}
    ~Hold() { values_.release(units_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    ValueBuckets& values_;
    std::vector<std::size_t> units_;
  };
  Hold hold(ParamRange now, ParamRange next = {}) const;
  Tensor value(ParamIndex index) const { return values_.value(owner(index)); }  // its box's shape

  // For whoever updates them.
  ValueBuckets& values() { return values_; }

 private:
  std::vector<std::size_t> units_of(ParamRange range) const;

  std::vector<ParamSpec> specs_;
  AxisPlaces places_;
  mutable ValueBuckets values_;  // where values lie changes while they are used, what they are does not
};

// Writes the initial values of `spec`'s box at `begin` into `x`: a function of (seed, name, element), whatever the box.
void initialize(const Context& context, Tensor x, const ParamSpec& spec, const Shape& begin, std::uint64_t seed);

}  // namespace trireme
