// The model families as compositions of the same layers.
//
//   gpt2    LayerNorm, learned positions, GELU, biases, tied embedding. A. Radford et al., "Language models are
//   unsupervised
//           multitask learners", 2019; the output projections' deviation is divided by sqrt(2 layers), as there.
//   llama   RMSNorm, rotary positions, SwiGLU, grouped-query attention. H. Touvron et al., arXiv:2302.13971.
#pragma once

#include <memory>

#include "parallel/layout.pb.h"
#include "parallel/pipeline/shape.h"
#include "trainer/model.pb.h"
#include "trainer/model/head.h"
#include "trainer/model/stage.h"

namespace trireme {

// Which of the model's layers a stage holds: blocks [first_block, last_block), and the ends.
struct StageSlice {
  int first_block = 0;
  int last_block = 0;
  bool has_embedding = true;
  bool has_head = true;
};
inline StageSlice whole_model(const config::Model& model) { return {0, model.layers(), true, true}; }
// What stage `stage` of `stages` holds of it.
inline StageSlice slice_of(const config::Model& model, int stages, int stage) {
  const StageBlocks blocks = blocks_of(model.layers(), stages, stage);
  return {blocks.first, blocks.last, stage == 0, stage == stages - 1};
}

// The embedding table; a tied head's weight is tied to it.
inline constexpr const char* kTokenTable = "embedding.tokens.weight";

// Declares the slice's parameters in `list` and returns the stage that uses them. `model` is resolved: no field is left
// to a default. `recompute`: what its blocks give up after their forward pass and make again before their backward
// pass; bits do not depend on it.
std::unique_ptr<Stage> make_stage(const config::Model& model, const LossOptions& loss, const StageSlice& slice,
                                  ParamList& list, config::Recompute recompute = config::none);

// Every parameter of the model in the order of its forward pass, with its place in Hugging Face's files: what all ranks
// together hold.
std::vector<ParamSpec> whole_model_specs(const config::Model& model);

// Forward and backward of one token in the middle of a full sequence, multiply-adds counted as two: 6 for each weight
// of a GEMM (the head included, the embeddings not), and 6 layers heads head_dim sequence_length for causal attention:
// half of the 12 that A. Chowdhery et al. (PaLM, arXiv:2204.02311, appendix B) count for full attention.
double flops_per_token(const config::Model& model);

}  // namespace trireme
