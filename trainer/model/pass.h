// What a layer may know of the step that it takes part in, in one struct instead of ten arguments or a global.
//
// The rows of a micro-batch are cut into spans. Whatever sums over rows (weight gradients, losses) or asks a GEMM for
// them goes span by span: in fast numerics there is one span, in exact numerics one for each sample, which accumulates
// into the group of consecutive samples that it belongs to. So no result depends on which samples share a micro-batch.
//
// Under tensor parallelism a rank holds a share of the rows between layers (parallel/tensor/tensor_group.h). What goes
// row by row (norms, residuals, dropout, learned positions) treats the rows held; a layer that needs all of them
// gathers them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "parallel/data/gradient_buckets.h"
#include "parallel/tensor/tensor_group.h"
#include "trainer/model/parameters.h"

namespace trireme {

struct RowSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  int group = 0;  // accumulator of GradientBuckets
};

// The share of a batch's rows that a rank holds between layers, padded to the size of a share.
struct HeldRows {
  Tensor positions{};            // [share] i32; -1 in padding
  RowIds ids{};                  // [share]
  std::vector<RowSpan> spans{};  // of the share; no padding
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
  std::optional<HeldRows> held{};  // none: all of them

  const Tensor& held_positions() const { return held ? held->positions : positions; }
  const RowIds& held_ids() const { return held ? held->ids : ids; }
  const std::vector<RowSpan>& held_spans() const { return held ? held->spans : spans; }
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
  TensorGroup tensor{};           // the ranks that share each weight and the rows
  std::int64_t step = -1;         // for the reports of calls; -1 outside of training

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

  // What a layer does with rows; `what` outlives the call. Of one rank: views, and what was written.
  GatheredRows gather(Tensor own, std::string_view what) const {
    return tensor.gather(*context, own, batch->rows, {step, what});
  }
  PartialRows partial(std::int64_t columns) const {
    return tensor.partial(*context, batch->rows, columns, parameters->dtype());
  }
  ArenaTensor sum(PartialRows part, std::string_view what, Tensor bias = {}, Tensor residual = {}) const {
    return tensor.sum(*context, std::move(part), parameters->dtype(), bias, residual, {step, what});
  }

  // The parameter's gradient of this micro-batch is on the stream.
  void accumulated(ParamIndex index) const { last_micro_batch ? gradients->ready(index) : gradients->added(index); }
};

}  // namespace trireme
