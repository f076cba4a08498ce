#include "trainer/optim/gradient_norm.h"

#include <algorithm>
#include <map>
#include <string>

#include "parallel/comm/traced_call.h"

namespace trireme {
namespace {

std::int64_t blocks_of(std::int64_t elements) { return (elements + BucketPlan::kBlock - 1) / BucketPlan::kBlock; }

// Where the blocks of each parameter begin in the order of the model, the boxes of tensor parallelism in turn; "" is
// the end.
std::map<std::string, std::int64_t> first_blocks(std::span<const ParamSpec> model, const AxisPlaces& places) {
  std::map<std::string, std::int64_t> first;
  std::int64_t blocks = 0;
  for (const ParamSpec& spec : model)
    for (std::int64_t tp = 0; tp < places[Axis::kTp].parts; ++tp) {
      AxisPlaces holder = places;
      holder[Axis::kTp].index = tp;
      if (!is_counted(spec, holder)) continue;
      if (tp == places[Axis::kTp].index) first[spec.name] = blocks;
      blocks += blocks_of(local_box(spec, holder).elements());
    }
  first[""] = blocks;
  return first;
}

}  // namespace

GradientNorm::GradientNorm(Context& context, const Parameters& parameters, std::span<const ParamSpec> model,
                           Communicator& world, Stream communication, Order order, Trace* trace)
    : context_(context),
      plan_(parameters.plan()),
      world_(world),
      communication_(communication),
      order_(order),
      track_(track_of(trace, kCommunicationTrack)),
      waits_(track_of(trace, kWaitsTrack)),
      event_(context.device->create_event()) {
  std::vector<BucketPlan::Run> runs;
  for (std::size_t bucket = 0; bucket < plan_.buckets.size(); ++bucket)
    for (const BucketPlan::Run& run : plan_.runs(bucket, plan_.own(bucket)))
      if (is_counted(parameters.spec(run.parameter), parameters.places())) runs.push_back(run);
  std::sort(runs.begin(), runs.end(), [](const BucketPlan::Run& a, const BucketPlan::Run& b) {
    return std::pair(a.parameter, a.begin) < std::pair(b.parameter, b.begin);
  });

  std::map<std::string, std::int64_t> first;
  if (order == Order::kExact) {
    first = first_blocks(model, parameters.places());
    blocks_ = first.at("");
  }
  for (const BucketPlan::Run& run : runs) {
    const std::int64_t count = blocks_of(run.end - run.begin);
    std::int64_t at = blocks_;
    if (order == Order::kExact)
      at = first.at(parameters.spec(run.parameter).name) + run.begin / BucketPlan::kBlock;
    else
      blocks_ += count;
    if (pieces_.empty() || pieces_.back().first_block + pieces_.back().blocks != at)
      pieces_.push_back({.first_block = at, .blocks = 0, .runs = {}});
    pieces_.back().blocks += count;
    pieces_.back().runs.push_back(run);
  }
}

GradientNorm::~GradientNorm() { context_.device->destroy_event(event_); }

ArenaTensor GradientNorm::sums(const GradientBuckets& gradients, std::int64_t step) const {
  const Kernels& ops = *context_.ops;
  ArenaTensor sums = context_.arena->allocate({blocks_}, DType::kF32, "optimizer");
  if (order_ == Order::kExact) ops.fill(context_.compute, sums, 0);
  for (const Piece& piece : pieces_) {
    std::vector<Tensor> tensors;
    for (const BucketPlan::Run& run : piece.runs) {
      const std::size_t bucket = plan_.parameters[run.parameter].bucket;
      const std::int64_t begin = run.at - plan_.kept(bucket).begin;
      tensors.push_back(gradients.reduced(bucket).flat(begin, begin + run.end - run.begin));
    }
    ops.square_sums(context_.compute, sums->rows(piece.first_block, piece.first_block + piece.blocks), tensors);
  }
  if (order_ == Order::kFast) {
    ArenaTensor total = context_.arena->allocate({1}, DType::kF32, "optimizer");
    ops.fill(context_.compute, total, 0);
    ops.add_sum(context_.compute, total, sums);
    sums = std::move(total);
  }
  Device& device = *context_.device;
  device.record(context_.compute, event_);
  device.wait(communication_, event_);
  traced_call(device, communication_, track_, "reduce gradient norm", step, [&] {
    world_.all_reduce(communication_, sums, Reduction::kSum, {step, "gradient norm"});
  });
  device.record(communication_, event_);
  traced_wait(device, context_.compute, event_, waits_, "gradient norm", step);
  return sums;
}

}  // namespace trireme
