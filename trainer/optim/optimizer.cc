#include "trainer/optim/optimizer.h"

namespace trireme {

Optimizer::Optimizer(Context& context, const Parameters& parameters, const config::Optimizer& options)
    : context_(context), parameters_(parameters), options_(options) {
  const auto allocate = [&](const Shape& shape, DType dtype) {
    return context.arena->allocate(shape, dtype, "optimizer");
  };
  const std::size_t count = parameters.count();
  masters_.resize(count);
  first_.resize(count);
  second_.resize(count);
  masters_view_.resize(count);
  for (ParamIndex index = 0; index < count; ++index) {
    if (!parameters.owned(index)) continue;
    const Shape& shape = parameters.box(index).size;
    if (parameters.dtype() == DType::kF32) {
      masters_view_[index] = parameters.value(index);
    } else {
      masters_[index] = allocate(shape, DType::kF32);
      masters_view_[index] = masters_[index];
    }
    first_[index] = allocate(shape, DType::kF32);
    second_[index] = allocate(shape, DType::kF32);
    (parameters.spec(index).decayed ? decayed_ : plain_).push_back(index);
  }
  norm_ = allocate({1}, DType::kF32);
  clip_ = allocate({1}, DType::kF32);
  skip_ = allocate({1}, DType::kI32);
  applied_ = allocate({1}, DType::kI64);
  control_ = {norm_, clip_, skip_, applied_};
}

void Optimizer::initialize(std::uint64_t seed) {
  for (ParamIndex index = 0; index < parameters_.count(); ++index) {
    if (!parameters_.owned(index)) continue;
    trireme::initialize(context_, masters_view_[index], parameters_.spec(index), parameters_.box(index).begin, seed);
    context_.ops->fill(context_.compute, first_[index], 0);
    context_.ops->fill(context_.compute, second_[index], 0);
  }
  context_.ops->fill(context_.compute, applied_, 0);
  round_masters();
}

void Optimizer::round_masters() {
  if (parameters_.dtype() == DType::kF32) return;
  for (ParamIndex index = 0; index < parameters_.count(); ++index)
    if (parameters_.owned(index)) context_.ops->copy(context_.compute, parameters_.value(index), masters_view_[index]);
}

void Optimizer::resume(std::int64_t applied_updates) {
  context_.device->upload(context_.compute, control_.applied, &applied_updates);
  round_masters();
}

void Optimizer::step(GradientBuckets& gradients, double learning_rate) {
  const Kernels& ops = *context_.ops;
  const Stream stream = context_.compute;
  const Tensors reduced = gradients.reduced();
  for (ParamIndex index = 0; index < parameters_.count(); ++index)
    if (!parameters_.owned(index)) ops.add(stream, reduced[parameters_.owner(index)], reduced[index]);

  // In the order of the parameters: the norm's sum must not depend on how they are grouped for decay.
  std::vector<Tensor> owned;
  std::int64_t blocks = 0;
  for (ParamIndex index = 0; index < parameters_.count(); ++index)
    if (parameters_.owned(index)) {
      owned.push_back(reduced[index]);
      blocks += (reduced[index].elements() + 1023) / 1024;
    }
  const ArenaTensor sums = context_.arena->allocate({blocks}, DType::kF32, "optimizer");
  ops.square_sums(stream, sums, owned);
  const Tensor flags = gradients.all_nonfinite();
  ops.decide_step(stream, control_, sums, flags.view({flags.elements()}), static_cast<float>(options_.clip_norm()));

  const auto update = [&](const std::vector<ParamIndex>& indices, double decay) {
    std::vector<Tensor> values, masters, first, second, grads;
    for (const ParamIndex index : indices) {
      values.push_back(parameters_.value(index));
      masters.push_back(masters_view_[index]);
      first.push_back(first_[index]);
      second.push_back(second_[index]);
      grads.push_back(reduced[index]);
    }
    ops.adamw(stream, values, masters, first, second, grads, control_,
              {.learning_rate = static_cast<float>(learning_rate),
               .beta1 = static_cast<float>(options_.beta1()),
               .beta2 = static_cast<float>(options_.beta2()),
               .epsilon = static_cast<float>(options_.epsilon()),
               .weight_decay = static_cast<float>(decay)});
  };
  update(decayed_, options_.weight_decay());
  update(plain_, 0);
}

}  // namespace trireme
