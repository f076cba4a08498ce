// Decoder-only transformers of both families, written from their papers as loops over scalars on a tape. The tests hold
// the whole model against this: losses, logits, and the gradient of every parameter.
//
//   gpt2   A. Radford et al., "Language models are unsupervised multitask learners", 2019: pre-norm LayerNorm, learned
//          positions, GELU by tanh (D. Hendrycks, K. Gimpel, arXiv:1606.08415), biases, output tied to the embedding.
//   llama  H. Touvron et al., arXiv:2302.13971: RMSNorm (arXiv:1910.07467), rotary positions (arXiv:2104.09864; pairs
//          d, d + D/2), SwiGLU (arXiv:2002.05202), grouped queries (arXiv:2305.13245).
//
// Parameters are named and shaped as in trainer/model, in row-major order; that is all they have in common.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/trainer/oracle/tape.h"

namespace trireme::oracle {

enum class Family { kGpt2, kLlama };

struct Decoder {
  Family family = Family::kGpt2;
  int layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocabulary = 0;
  bool tied = true;
  double norm_epsilon = 1e-5, rope_theta = 10000;
  double dropout = 0, attention_dropout = 0;
  double label_smoothing = 0, z_loss = 0;
};

struct Token {
  int id = 0, target = 0;
  bool counts = true;       // the target is part of the loss
  int position = 0;         // in its document
  std::int64_t sample = 0;  // global index
  int offset = 0;           // within the sample
  int first_key = 0;        // attends to rows [first_key, itself]
};

using Tensors = std::map<std::string, std::vector<double>>;

struct Outcome {
  double loss = 0;                    // mean over the tokens that count
  std::vector<double> sample_losses;  // plain cross-entropy, summed over a sample's tokens, in order of first rows
  std::vector<std::vector<double>> logits;  // [R][V]
  Tensors gradients;                        // of the loss, for every entry of the parameters
  Tensors terms;                            // of each, the sum over rows of |what the row gives to it|
};

enum class Mode { kTraining, kEvaluation };  // dropout, smoothing, z-loss; or none of them

// `seed` is the experiment's, for dropout.
Outcome run(const Decoder& decoder, const Tensors& parameters, const std::vector<Token>& rows, std::uint64_t seed,
            Mode mode, const Rounding& rounding = {});

// Philox's key of a purpose, as cuda/core/philox.h defines it in words: SplitMix64's finaliser of the seed, then of the
// key xor each letter.
std::uint64_t key_of(std::uint64_t seed, const std::string& name);

}  // namespace trireme::oracle
