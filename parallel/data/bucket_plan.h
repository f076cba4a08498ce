// Where each gradient lies and which bucket it travels in: a pure function of the parameters' sizes, so that a plan, a
// shape-only pass and the run agree.
//
// Buckets go through the parameters from the last to the first, the order in which the backward pass completes them, so
// bucket 0 is ready first. A bucket is a run of neighbours; it is closed before it would exceed the limit, so only a
// parameter that is larger alone makes a larger bucket. Each parameter begins at a multiple of kAlignment elements.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cuda/core/tensor.h"

namespace trireme {

struct BucketPlan {
  static constexpr std::int64_t kAlignment = 1024;  // elements: blocks of the norm never straddle parameters

  struct Bucket {
    std::size_t first = 0;  // parameters [first, last)
    std::size_t last = 0;
    std::int64_t begin = 0;  // elements [begin, end) of the whole, gaps included
    std::int64_t end = 0;
  };
  std::vector<Bucket> buckets;
  std::vector<std::size_t> bucket_of;  // parameter -> bucket
  std::vector<std::int64_t> offset;    // parameter -> element of the whole
  std::int64_t elements = 0;           // of the whole, gaps included
};

BucketPlan plan_buckets(std::span<const Shape> parameters, std::size_t bucket_bytes);

}  // namespace trireme
