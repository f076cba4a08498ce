#include "trainer/step/sample_losses.h"

#include "trainer/step/device_batches.h"

namespace trireme {

ArenaTensor sample_losses(Context& context, const Parameters& parameters, Order order, const TensorGroup& tensor,
                          const Batch& batch, const std::function<void(const Pass&)>& evaluate) {
  const DeviceBatches device(context, {&batch, 1}, {SpanRule::Kind::kPerSample, 1}, tensor);
  ArenaTensor sums = context.arena->allocate({batch.samples}, DType::kF32, "scalars");
  context.ops->fill(context.compute, sums, 0);
  const Pass pass{.context = &context,
                  .parameters = &parameters,
                  .gradients = nullptr,
                  .batch = &device[0],
                  .order = order,
                  .training = false,
                  .last_micro_batch = false,
                  .seed = 0,
                  .loss = sums,
                  .tensor = tensor};
  evaluate(pass);
  return sums;
}

}  // namespace trireme
