// What a layer may know of the step that it takes part in, in one struct instead of ten arguments or a global.
//
// The rows of a micro-batch are cut into spans. Whatever sums over rows (weight gradients, losses) or asks a GEMM for
// them goes span by span: in fast numerics there is one span, in exact numerics one for each sample, which accumulates
// into the group of consecutive samples that it belongs to. So no result depends on which samples share a micro-batch.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "parallel/data/gradient_buckets.h"
#include "trainer/model/parameters.h"

namespace trireme {

struct RowSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  int group = 0;  // accumulator of GradientBuckets
};

// Tokens on the device, sample after sample: R = samples x sequence_length rows.
struct DeviceBatch {
  std::int64_t rows = 0;
  Tensor tokens{};     // [R] i32
  Tensor targets{};    // [R] i32
  Tensor weights{};    // [R] f32: 0 where the target does not count
  Tensor positions{};  // [R] i32
  Tensor keys{};       // [R, 2] i32: what each row attends to, as rows of this micro-batch
  RowIds ids{};
  std::vector<RowSpan> spans{};
};

struct Pass {
  Context* context = nullptr;
  const Parameters* parameters = nullptr;
  GradientBuckets* gradients = nullptr;  // null outside of training
  const DeviceBatch* batch = nullptr;
  Order order = Order::kFast;
  bool training = false;          // dropout is on
  bool last_micro_batch = false;  // of the step: gradients are complete after it
  std::uint64_t seed = 0;         // of dropout
  Tensor loss{};                  // [groups] f32: sums of weighted token losses
  Tensor gradient_scale{};        // [1] f32: 1 / tokens of the global batch

  const Kernels& ops() const { return *context->ops; }
  Stream stream() const { return context->compute; }
  Tensor value(ParamIndex index) const { return parameters->value(index); }
  Tensor gradient(ParamIndex index, const RowSpan& span) const { return gradients->gradient(index, span.group); }
  ArenaTensor activation(const Shape& shape) const {
    return context->arena->allocate(shape, parameters->dtype(), "activations");
  }
  ArenaTensor statistic(const Shape& shape) const {
    return context->arena->allocate(shape, DType::kF32, "activations");
  }

  // The parameter's gradient of this micro-batch is on the stream.
  void accumulated(ParamIndex index) const {
    if (last_micro_batch) gradients->ready(index);
  }
};

}  // namespace trireme
