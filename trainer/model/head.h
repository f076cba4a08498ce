// Logits over a vocabulary are the largest tensor of a small model: [R, V] in fp32 would outweigh all other
// activations. So the last projection and the cross-entropy are one layer, which walks the rows in chunks; only [chunk,
// V] exists at a time.
//
// In training the forward pass keeps the normed input and no more. backward_input computes a chunk's logits, its losses
// and its gradients at once, so the logits are computed once; the weight's gradient is added there too, since the
// logits' gradient is gone afterwards, and backward_weight has only the norm left to do. It may therefore be run once
// for each forward.
//
// Tensor parallelism cuts the vocabulary: a rank has its columns of all rows' logits. Statistics of the columns are
// gathered and merged, chunk by chunk; every rank then knows the whole loss of every row and the gradient of its own
// logits.
#pragma once

#include <string>

#include "trainer/model/linear.h"
#include "trainer/model/norm.h"

namespace trireme {

struct LossOptions {
  float label_smoothing = 0;
  float z_loss = 0;
  std::int64_t chunk_rows = 512;
};

template <class Norm>
class Head {
 public:
  // Until backward_input: x, m. From then until backward_weight: x, dm.
  struct Saved {
    ArenaTensor x;  // [share, C]
    ArenaTensor m;  // [share, C]: normed
    ArenaTensor dm;
    typename Norm::Saved norm;
  };

  // With `tied_to` the weight is that parameter's; its gradient is kept apart and added once.
  Head(ParamList& list, std::int64_t vocabulary, std::int64_t hidden_size, float norm_epsilon, float init_std,
       const std::string& tied_to, const LossOptions& options);

  void forward(const Pass& pass, ArenaTensor x, Saved& saved) const;
  ArenaTensor backward_input(const Pass& pass, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

  // Evaluation: adds the weighted cross-entropy (no smoothing, no z-loss) of each span to pass.loss.
  void evaluate(const Pass& pass, ArenaTensor x) const;
  // [R, V] f32 of the rows of x; for generation, on one rank.
  ArenaTensor logits(const Pass& pass, Tensor x) const;

 private:
  template <class Use>
  void for_each_chunk(const Pass& pass, Tensor m, Use use) const;
  CrossEntropy cross_entropy(const Pass& pass) const;

  Norm norm_;
  ParamIndex weight_;
  std::int64_t vocabulary_;
  LossOptions options_;
  RowCalls calls_;
  std::string statistics_;  // what their call is for
};

extern template class Head<LayerNorm>;
extern template class Head<RmsNorm>;

}  // namespace trireme
