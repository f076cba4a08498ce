// Causal self-attention with as many or fewer heads of K and V, with rotary positions or without. Q and KV are separate
// parameters, because under tensor parallelism their replicas differ.
#pragma once

#include <optional>
#include <string>

#include "trainer/model/linear.h"

namespace trireme {

// Keys and values of the tokens seen so far, for generation.
struct KvCache {
  ArenaTensor kv;           // [capacity, 2, Hk, D]
  std::int64_t filled = 0;  // rows
};

class SelfAttention {
 public:
  struct Options {
    std::int64_t hidden_size = 0;
    std::int64_t heads = 0;
    std::int64_t kv_heads = 0;
    std::int64_t head_dim = 0;
    std::optional<double> rope_theta;
    Linear::Bias bias = Linear::Bias::kNone;
    float dropout = 0;
    float init_std = 0;
    float out_init_std = 0;
  };

  // Until backward_input: q, kv, o, lse. From then until backward_weight: o, dq, dkv. x and dy are the caller's, as for
  // Linear.
  struct Saved {
    ArenaTensor q;    // [R, H, D]
    ArenaTensor kv;   // [R, 2, Hk, D]
    ArenaTensor o;    // [R, H, D]
    ArenaTensor lse;  // [R, H] f32
    ArenaTensor dq, dkv;
    Linear::Saved q_linear, kv_linear, out_linear;
  };

  SelfAttention(ParamList& list, const std::string& name, const Options& options);

  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const;  // [R, C] -> [R, C]
  // Between forward and backward_input: gives back what the core (softmax(Q K^T) V) made, and makes it again.
  void forget_core(Saved& saved) const;
  void recompute_core(const Pass& pass, Saved& saved) const;
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

  // Generation: the micro-batch's rows continue those in the cache; batch.keys count rows of the cache.
  ArenaTensor extend(const Pass& pass, Tensor x, KvCache& cache, Tensor residual) const;
  Shape kv_row() const { return {2, options_.kv_heads, options_.head_dim}; }

 private:
  void core(const Pass& pass, Saved& saved) const;
  void turn(const Pass& pass, Tensor q, Tensor kv, int sign) const;
  Dropout dropout(const Pass& pass) const;

  std::string name_;
  Options options_;
  float scale_;
  Linear q_, kv_, out_;
};

}  // namespace trireme
