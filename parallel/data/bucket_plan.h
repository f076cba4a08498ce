// Where each gradient and each value lies, which bucket it travels in and which part of it is whose: a pure function of
// the parameters' local sizes, so that a plan, a shape-only pass and the run agree.
//
// Buckets go through the parameters from the last to the first, the order in which the backward pass completes them, so
// bucket 0 is ready first. A bucket is a run of neighbours of one unit (ParamSpec::unit); it is closed before it would
// exceed the limit, so only a parameter that is larger alone makes a larger bucket. Each parameter begins at a multiple
// of 1024 elements, and a bucket is a multiple of ranks x 1024 of them: ZeRO cuts it into equal parts, one for each
// rank of data parallelism, without packing, and no block of the norm straddles a parameter or a part. What lies
// between parameters is zero and belongs to nobody. Ranks of tensor parallelism plan alike, whatever they cut unevenly.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cuda/core/tensor.h"
#include "parallel/placement/param_spec.h"

namespace trireme {

struct BucketPlan {
  static constexpr std::int64_t kBlock = 1024;  // elements
  static constexpr std::size_t kBucketBytes = std::size_t{4} << 20;

  struct Range {
    std::int64_t begin = 0;  // elements [begin, end) of the whole
    std::int64_t end = 0;
    std::int64_t size() const { return end - begin; }
    bool operator==(const Range&) const = default;
  };
  struct Parameter {
    std::string name;
    Box box;                // that this rank holds
    std::size_t owner = 0;  // whose values it uses: its own, or those of the parameter that it is tied to
    std::size_t unit = 0;
    std::size_t bucket = 0;
    std::int64_t begin = 0;  // of the whole
  };
  struct Unit {
    std::string name;
    std::size_t first = 0;  // parameters [first, last)
    std::size_t last = 0;
    std::size_t first_bucket = 0;  // buckets [first_bucket, last_bucket)
    std::size_t last_bucket = 0;
    bool valued = false;  // some of its parameters have values of their own
  };
  struct Bucket {
    std::size_t first = 0;  // parameters [first, last)
    std::size_t last = 0;
    std::size_t unit = 0;
    Range range;                    // gaps included
    std::int64_t values_begin = 0;  // among the buckets of valued units
  };
  // Elements [begin, end) of a parameter's box, in its row-major order, and where the first lies in the whole.
  struct Run {
    std::size_t parameter = 0;
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t at = 0;
    bool operator==(const Run&) const = default;
  };

  std::int64_t ranks = 1;  // of data parallelism
  std::int64_t rank = 0;   // this one
  int zero_stage = 0;
  std::vector<Parameter> parameters;
  std::vector<Unit> units;  // in the order of the forward pass
  std::vector<Bucket> buckets;
  std::int64_t elements = 0;         // of the whole, gaps included
  std::int64_t valued_elements = 0;  // of the buckets of valued units

  // The part of a bucket that rank `index` of data parallelism counts in the norm.
  Range part(std::size_t bucket, std::int64_t index) const;
  Range own(std::size_t bucket) const { return part(bucket, rank); }
  // What this rank updates: under ZeRO its own part, else the whole bucket.
  Range kept(std::size_t bucket) const { return zero_stage > 0 ? own(bucket) : buckets.at(bucket).range; }
  // Where the kept elements of a bucket lie among those of all valued units.
  std::int64_t kept_begin(std::size_t bucket) const { return buckets.at(bucket).values_begin / parts(); }
  std::int64_t kept_elements() const { return valued_elements / parts(); }
  // The parameters' elements that lie in a range of one bucket, in the order of the parameters; begins are multiples of
  // kBlock.
  std::vector<Run> runs(std::size_t bucket, Range range) const;

 private:
  std::int64_t parts() const { return zero_stage > 0 ? ranks : 1; }
};

// `specs` in the order of the forward pass, for the rank at `places`.
BucketPlan plan_buckets(std::span<const ParamSpec> specs, const AxisPlaces& places, int zero_stage = 0,
                        std::size_t bucket_bytes = BucketPlan::kBucketBytes);

}  // namespace trireme
