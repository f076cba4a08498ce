#include "trainer/optim/optimizer.h"

#include <algorithm>

namespace trireme {

Optimizer::Optimizer(Context& context, Parameters& parameters, const config::Optimizer& options,
                     const config::LossScale& loss_scale)
    : context_(context), parameters_(parameters), options_(options) {
  if (parameters.dtype() == DType::kF16) {
    first_scale_ = static_cast<float>(loss_scale.initial());
    moves_ = {.growth = static_cast<float>(loss_scale.growth_factor()),
              .backoff = static_cast<float>(loss_scale.backoff_factor()),
              .least = static_cast<float>(loss_scale.min()),
              .interval = loss_scale.growth_interval()};
  }
  const auto allocate = [&](const Shape& shape, DType dtype) {
    return context.arena->allocate(shape, dtype, "optimizer");
  };
  const BucketPlan& plan = parameters.plan();
  const bool own_masters = parameters.dtype() != DType::kF32;
  if (own_masters) masters_ = allocate({plan.kept_elements()}, DType::kF32);
  first_ = allocate({plan.kept_elements()}, DType::kF32);
  second_ = allocate({plan.kept_elements()}, DType::kF32);
  for (std::size_t bucket = 0; bucket < plan.buckets.size(); ++bucket)
    for (const BucketPlan::Run& run : plan.runs(bucket, plan.kept(bucket))) {
      if (!parameters.owned(run.parameter)) continue;
      const std::int64_t at = plan.kept_begin(bucket) + run.at - plan.kept(bucket).begin;
      const auto part = [&](const Tensor& of) { return of.flat(at, at + run.end - run.begin); };
      Piece piece{.parameter = run.parameter, .begin = run.begin, .end = run.end};
      piece.master = own_masters ? part(masters_) : value(piece);
      piece.first_moment = part(first_);
      piece.second_moment = part(second_);
      pieces_.push_back(piece);
    }
  std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
    return std::pair(a.parameter, a.begin) < std::pair(b.parameter, b.begin);
  });
  norm_ = allocate({1}, DType::kF32);
  clip_ = allocate({1}, DType::kF32);
  factor_ = allocate({1}, DType::kF32);
  skip_ = allocate({1}, DType::kI32);
  applied_ = allocate({1}, DType::kI64);
  scale_ = allocate({1}, DType::kF32);
  good_ = allocate({1}, DType::kI64);
  control_ = {.norm = norm_,
              .clip = clip_,
              .factor = factor_,
              .skip = skip_,
              .applied = applied_,
              .scale = scale_,
              .good = good_};
}

Tensor Optimizer::value(const Piece& piece) const {
  const BucketPlan::Parameter& parameter = parameters_.plan().parameters[piece.parameter];
  const std::int64_t at = parameter.begin + piece.begin - parameters_.plan().kept(parameter.bucket).begin;
  return parameters_.values().kept(parameter.bucket).flat(at, at + piece.end - piece.begin);
}

Tensor Optimizer::gradient(const GradientBuckets& gradients, const Piece& piece) const {
  const BucketPlan::Parameter& parameter = parameters_.plan().parameters[piece.parameter];
  const std::int64_t at = parameter.begin + piece.begin - parameters_.plan().kept(parameter.bucket).begin;
  return gradients.reduced(parameter.bucket).flat(at, at + piece.end - piece.begin);
}

void Optimizer::initialize(std::uint64_t seed) {
  parameters_.values().settle();
  for (const Piece& piece : pieces_) {
    const Box& held = parameters_.plan().parameters[piece.parameter].box;
    std::int64_t at = 0;
    for (const Box& box : boxes_of_run(held.size, piece.begin, piece.end)) {
      const Tensor x = piece.master.flat(at, at + box.elements()).view(box.size);
      trireme::initialize(context_, x, parameters_.spec(piece.parameter), inside(held, box).begin, seed);
      at += box.elements();
    }
  }
  context_.ops->fill(context_.compute, first_, 0);
  context_.ops->fill(context_.compute, second_, 0);
  context_.ops->fill(context_.compute, applied_, 0);
  context_.ops->fill(context_.compute, scale_, first_scale_);
  context_.ops->fill(context_.compute, good_, 0);
  round_masters();
}

void Optimizer::round_masters(std::int64_t step) {
  parameters_.values().settle();
  if (parameters_.dtype() != DType::kF32)
    for (const Piece& piece : pieces_) context_.ops->copy(context_.compute, value(piece), piece.master);
  parameters_.values().written(step);
}

void Optimizer::resume(const OptimizerProgress& progress) {
  context_.device->upload(context_.compute, applied_, &progress.applied_updates);
  context_.device->upload(context_.compute, scale_, &progress.loss_scale);
  context_.device->upload(context_.compute, good_, &progress.good_steps);
  round_masters();
}

void Optimizer::add_tied(GradientBuckets& gradients) {
  const BucketPlan& plan = parameters_.plan();
  for (ParamIndex index = 0; index < parameters_.count(); ++index) {
    if (parameters_.owned(index)) continue;
    const BucketPlan::Parameter& tied = plan.parameters[index];
    for (const BucketPlan::Run& run : plan.runs(tied.bucket, plan.kept(tied.bucket))) {
      if (run.parameter != index) continue;
      const BucketPlan::Parameter& owner = plan.parameters[parameters_.owner(index)];
      const BucketPlan::Range theirs = plan.kept(owner.bucket);
      const std::int64_t at = owner.begin + run.begin;
      const std::int64_t size = run.end - run.begin;
      CHECK(theirs.begin <= at && at + size <= theirs.end, tied.name, " and ", owner.name, " lie in other parts");
      const std::int64_t here = run.at - plan.kept(tied.bucket).begin;
      context_.ops->add(context_.compute,
                        gradients.reduced(owner.bucket).flat(at - theirs.begin, at - theirs.begin + size),
                        gradients.reduced(tied.bucket).flat(here, here + size));
    }
  }
}

void Optimizer::step(GradientBuckets& gradients, const GradientNorm& norm, double learning_rate, std::int64_t step) {
  const Kernels& ops = *context_.ops;
  const Stream stream = context_.compute;
  add_tied(gradients);
  ops.decide_step(stream, control_, norm.sums(gradients, step), static_cast<float>(options_.clip_norm()), moves_);

  parameters_.values().settle();
  const auto update = [&](bool decayed) {
    std::vector<Tensor> values, masters, first, second, grads;
    for (const Piece& piece : pieces_) {
      if (parameters_.spec(piece.parameter).decayed != decayed) continue;
      values.push_back(value(piece));
      masters.push_back(piece.master);
      first.push_back(piece.first_moment);
      second.push_back(piece.second_moment);
      grads.push_back(gradient(gradients, piece));
    }
    ops.adamw(stream, values, masters, first, second, grads, control_,
              {.learning_rate = static_cast<float>(learning_rate),
               .beta1 = static_cast<float>(options_.beta1()),
               .beta2 = static_cast<float>(options_.beta2()),
               .epsilon = static_cast<float>(options_.epsilon()),
               .weight_decay = static_cast<float>(decayed ? options_.weight_decay() : 0)});
  };
  update(true);
  update(false);
  parameters_.values().written(step);
}

}  // namespace trireme
