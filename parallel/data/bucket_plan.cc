#include "parallel/data/bucket_plan.h"

namespace trireme {

BucketPlan plan_buckets(std::span<const Shape> parameters, std::size_t bucket_bytes) {
  CHECK(bucket_bytes > 0, "buckets of no bytes");
  const auto limit = static_cast<std::int64_t>(bucket_bytes / bytes_of(DType::kF32));
  std::vector<std::int64_t> padded;
  for (const Shape& shape : parameters)
    padded.push_back((shape.elements() + BucketPlan::kAlignment - 1) / BucketPlan::kAlignment * BucketPlan::kAlignment);

  BucketPlan plan;
  plan.bucket_of.resize(parameters.size());
  plan.offset.resize(parameters.size());
  std::size_t last = parameters.size();
  while (last > 0) {
    std::size_t first = last - 1;
    std::int64_t size = padded[first];
    while (first > 0 && size + padded[first - 1] <= limit) size += padded[--first];
    std::int64_t at = plan.elements;
    for (std::size_t i = first; i < last; ++i) {
      plan.bucket_of[i] = plan.buckets.size();
      plan.offset[i] = at;
      at += padded[i];
    }
    plan.buckets.push_back({first, last, plan.elements, at});
    plan.elements = at;
    last = first;
  }
  return plan;
}

}  // namespace trireme
