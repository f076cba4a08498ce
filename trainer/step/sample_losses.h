// How well a model predicts given samples: the forward pass alone, shared by validation during training and by `trireme
// eval`.
#pragma once

#include <functional>

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "trainer/model/pass.h"

namespace trireme {

// [samples] f32: the cross-entropy of each sample, summed over its unmasked tokens, without dropout, smoothing and
// z-loss. `evaluate` runs the whole model, of which pass.loss is asked for. Of `tensor`'s ranks each calls this with
// the same batch and gets all losses.
ArenaTensor sample_losses(Context& context, const Parameters& parameters, Order order, const TensorGroup& tensor,
                          const Batch& batch, const std::function<void(const Pass&)>& evaluate);

}  // namespace trireme
