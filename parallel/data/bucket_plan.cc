#include "parallel/data/bucket_plan.h"

#include <algorithm>

namespace trireme {
namespace {

std::int64_t rounded_up(std::int64_t elements, std::int64_t multiple) {
  return (elements + multiple - 1) / multiple * multiple;
}

}  // namespace

BucketPlan::Range BucketPlan::part(std::size_t bucket, std::int64_t index) const {
  CHECK(index >= 0 && index < ranks, "part ", index, " of ", ranks);
  const Range& range = buckets.at(bucket).range;
  const std::int64_t size = range.size() / ranks;
  return {range.begin + index * size, range.begin + (index + 1) * size};
}

std::vector<BucketPlan::Run> BucketPlan::runs(std::size_t bucket, Range range) const {
  std::vector<Run> found;
  for (std::size_t i = buckets.at(bucket).first; i < buckets[bucket].last; ++i) {
    const Parameter& parameter = parameters[i];
    const std::int64_t begin = std::max(range.begin, parameter.begin);
    const std::int64_t end = std::min(range.end, parameter.begin + parameter.box.elements());
    if (begin < end) found.push_back({i, begin - parameter.begin, end - parameter.begin, begin});
  }
  return found;
}

BucketPlan plan_buckets(std::span<const ParamSpec> specs, const AxisPlaces& places, int zero_stage,
                        std::size_t bucket_bytes) {
  CHECK(bucket_bytes > 0, "buckets of no bytes");
  CHECK(zero_stage >= 0 && zero_stage <= 3, "ZeRO stage ", zero_stage);
  const auto limit = static_cast<std::int64_t>(bucket_bytes / bytes_of(DType::kF32));
  BucketPlan plan;
  plan.ranks = places[Axis::kDp].parts;
  plan.rank = places[Axis::kDp].index;
  plan.zero_stage = zero_stage;
  std::vector<std::int64_t> padded;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const ParamSpec& spec = specs[i];
    if (i == 0 || specs[i - 1].unit != spec.unit)
      plan.units.push_back({.name = spec.unit.empty() ? spec.name : spec.unit, .first = i});
    plan.units.back().last = i + 1;
    plan.parameters.push_back(
        {.name = spec.name, .box = local_box(spec, places), .owner = i, .unit = plan.units.size() - 1});
    for (std::size_t other = 0; other < i; ++other)
      if (specs[other].name == spec.tied_to) plan.parameters[i].owner = other;
    plan.units.back().valued |= plan.parameters[i].owner == i;
    // Room for the largest of the boxes that tensor parallelism cuts, so that its ranks plan the same buckets.
    AxisPlaces first = places;
    first[Axis::kTp].index = 0;
    padded.push_back(rounded_up(local_box(spec, first).elements(), BucketPlan::kBlock));
  }

  std::size_t last = specs.size();
  while (last > 0) {
    std::size_t first = last - 1;
    const std::size_t unit = plan.parameters[first].unit;
    std::int64_t size = padded[first];
    while (first > plan.units[unit].first && size + padded[first - 1] <= limit) size += padded[--first];

    const std::size_t bucket = plan.buckets.size();
    std::int64_t at = plan.elements;
    for (std::size_t i = first; i < last; ++i) {
      plan.parameters[i].bucket = bucket;
      plan.parameters[i].begin = at;
      at += padded[i];
    }
    // A rank whose boxes are all empty still takes part: no bucket is of no elements.
    size = rounded_up(std::max<std::int64_t>(size, 1), plan.ranks * BucketPlan::kBlock);
    plan.buckets.push_back({first, last, unit, {plan.elements, plan.elements + size}, plan.valued_elements});
    plan.elements += size;
    if (plan.units[unit].valued) plan.valued_elements += size;
    if (last == plan.units[unit].last) plan.units[unit].first_bucket = bucket;
    plan.units[unit].last_bucket = bucket + 1;
    last = first;
  }
  return plan;
}

}  // namespace trireme
