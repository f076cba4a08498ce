// A stage is a slice of a model's layers, and the one virtual boundary in it: the interpreter of a schedule knows
// stages and micro-batches, never layers. What forward keeps for a micro-batch waits inside the stage under its number.
#pragma once

#include <memory>
#include <vector>

#include "trainer/model/attention.h"
#include "trainer/model/pass.h"

namespace trireme {

// The keys and values of every block of a stage, for generation.
using KvCaches = std::vector<KvCache>;

class Stage {
 public:
  virtual ~Stage() = default;

  // Of what passes between stages, activations and their gradients: [R, C], of the parameters' dtype.
  virtual Shape boundary_shape(const Pass& pass) const = 0;

  // The first stage ignores x and embeds pass.batch; the last returns nothing that is given and keeps what its loss
  // needs.
  virtual ArenaTensor forward(const Pass& pass, int micro_batch, ArenaTensor x) = 0;
  // The last stage ignores dy and starts from its loss, which it adds to pass.loss; the first returns nothing.
  virtual ArenaTensor backward_input(const Pass& pass, int micro_batch, ArenaTensor dy) = 0;
  virtual void backward_weight(const Pass& pass, int micro_batch) = 0;
  // backward_input and backward_weight, layer by layer: the same bits with less memory, for schedules that run W right
  // after B.
  virtual ArenaTensor backward(const Pass& pass, int micro_batch, ArenaTensor dy) = 0;

  // Keeps nothing. The last stage adds the cross-entropy to pass.loss.
  virtual ArenaTensor evaluate(const Pass& pass, ArenaTensor x) = 0;

  // Generation: the rows continue those in the caches; the last stage returns logits [1, V] f32 of the last row.
  virtual KvCaches make_caches(Context& context, DType dtype, std::int64_t rows) const = 0;
  virtual ArenaTensor extend(const Pass& pass, ArenaTensor x, KvCaches& caches) = 0;
};

}  // namespace trireme
