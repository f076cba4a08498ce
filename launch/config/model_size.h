// Before a run starts one wants to know what it costs. Parameters are counted in what the model declares; activations
// are a closed formula, at once for any size. `trireme check` plans a layout byte for byte, which takes longer.
//
// Needs a resolved model (resolve.h).
#pragma once

#include <cstdint>

#include "launch/run.pb.h"

namespace trireme {

struct ParameterCount {
  std::int64_t embedding = 0;  // tokens, and positions where they have a table
  std::int64_t per_layer = 0;
  std::int64_t final_norm = 0;
  std::int64_t head = 0;  // 0 where it is the token embedding (tied)
  std::int64_t total = 0;
};
ParameterCount count_parameters(const config::Model& model);

// Of the rank that holds the most, in bytes.
struct MemoryPerRank {
  double parameters = 0;   // in the precision of training
  double gradients = 0;    // fp32
  double optimizer = 0;    // two moments and, for bf16 and fp16, the master weights: fp32
  double activations = 0;  // an estimate: see the source for what is counted
  double logits = 0;       // loss_chunk_rows x vocabulary, fp32, and their gradient's copy in the precision of training
  double total() const { return parameters + gradients + optimizer + activations + logits; }
};
// `dp`: run.mesh.dp, or what it will be.
MemoryPerRank memory_per_rank(const config::Run& run, int dp);

}  // namespace trireme
