// Causal self-attention with as many or fewer heads of K and V, with rotary positions or without. Tensor parallelism
// cuts heads, and attention itself needs no other rank. Q and KV are separate parameters, because their replicas
// differ: of fewer heads of K and V than ranks, neighbouring ranks hold the same.
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

  // Until backward_input: q, kv, o, lse. From then until backward_weight: o, dq, dkv, dy. x is the caller's; its rows
  // are gathered again, those of dy kept, as in the feed-forward half. H and Hk are this rank's heads.
  struct Saved {
    Tensor x;         // [share, C]
    ArenaTensor q;    // [R, H, D]
    ArenaTensor kv;   // [R, 2, Hk, D]
    ArenaTensor o;    // [R, H, D]
    ArenaTensor lse;  // [R, H] f32
    ArenaTensor dq, dkv;
    GatheredRows dy;  // [R, C]
  };

  SelfAttention(ParamList& list, const std::string& name, const Options& options);

  // [share, C] -> [share, C]
  ArenaTensor forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const;
  // Between forward and backward_input: gives back what the core (softmax(Q K^T) V) made, and makes it again.
  void forget_core(Saved& saved) const;
  void recompute_core(const Pass& pass, Saved& saved) const;
  ArenaTensor backward_input(const Pass& pass, Tensor dy, Saved& saved) const;
  void backward_weight(const Pass& pass, Saved& saved) const;

  // Generation, on one rank: the micro-batch's rows continue those in the cache; batch.keys count rows of the cache.
  ArenaTensor extend(const Pass& pass, Tensor x, KvCache& cache, Tensor residual) const;
  Shape kv_row() const { return {2, options_.kv_heads, options_.head_dim}; }

 private:
  void core(const Pass& pass, Saved& saved) const;
  void turn(const Pass& pass, Tensor q, Tensor kv, int sign) const;
  Dropout dropout(const Pass& pass) const;

  std::string name_;
  Options options_;
  float scale_;
  ParamIndex first_;  // q's weight, whose box says which heads are this rank's
  Linear q_, kv_, out_;
  RowCalls calls_;
};

}  // namespace trireme
