// How well a model predicts given samples: the forward pass alone, shared by validation during training and by `trireme
// eval`.
#pragma once

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "trainer/model/stage.h"

namespace trireme {

// [samples] f32: the cross-entropy of each sample, summed over its unmasked tokens, without dropout, smoothing and
// z-loss. `stage` holds the whole model.
ArenaTensor sample_losses(Context& context, Stage& stage, const Parameters& parameters, Order order,
                          const Batch& batch);

}  // namespace trireme
