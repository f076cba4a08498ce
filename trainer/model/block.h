// One pre-norm transformer block: h = x + attention(norm(x)), y = h + mlp(norm(h)); dropout on what is added. The
// family is a choice of types; nothing here is virtual.
#pragma once

#include <string>
#include <utility>

#include "cuda/core/philox.h"
#include "parallel/layout.pb.h"
#include "trainer/model/attention.h"
#include "trainer/model/mlp.h"
#include "trainer/model/norm.h"

namespace trireme {

template <class Norm, class Mlp>
class Block {
 public:
  // Owns all that its parts refer to. Until backward_input: everything of forward, or under recomputation all but what
  // attention's core made (selective), or x alone (full): backward_input makes the rest again, the same bits. From then
  // until backward_weight: the inputs of linears and norms and the gradients of their outputs, no more.
  struct Saved {
    ArenaTensor x, a, h, m;          // [share, C]: input; norm of it; after attention; norm of that
    ArenaTensor dy, dm, dh, da;      // [share, C]
    ArenaTensor d_mlp, d_attention;  // dy and dh after dropout, where there is any
    typename Norm::Saved attention_norm, mlp_norm;
    SelfAttention::Saved attention;
    typename Mlp::Saved mlp;
  };

  Block(ParamList& list, const std::string& name, const SelfAttention::Options& attention, std::int64_t ffn_size,
        float norm_epsilon, float dropout, config::Recompute recompute = config::none)
      : name_(name),
        dropout_(dropout),
        recompute_(recompute),
        attention_norm_(list, name + ".attention_norm", attention.hidden_size, norm_epsilon),
        attention_(list, name + ".attention", attention),
        mlp_norm_(list, name + ".mlp_norm", attention.hidden_size, norm_epsilon),
        mlp_(list, name + ".mlp", attention.hidden_size, ffn_size, attention.init_std, attention.out_init_std) {}

  ArenaTensor forward(const Pass& pass, ArenaTensor x, Saved& saved) const {
    ArenaTensor y = compute(pass, std::move(x), saved);
    if (recompute_ == config::selective) attention_.forget_core(saved.attention);
    if (recompute_ == config::full) keep_input(saved);
    return y;
  }

  ArenaTensor backward_input(const Pass& pass, ArenaTensor dy, Saved& saved) const {
    if (recompute_ == config::selective) attention_.recompute_core(pass, saved.attention);
    if (recompute_ == config::full) compute(pass, std::move(saved.x), saved);
    saved.dy = std::move(dy);
    saved.dm = mlp_.backward_input(pass, fork(pass, "mlp", saved.dy, saved.d_mlp), saved.mlp);
    saved.dh = mlp_norm_.backward_input(pass, saved.dm, saved.dy, saved.mlp_norm);
    saved.da = attention_.backward_input(pass, fork(pass, "attention", saved.dh, saved.d_attention), saved.attention);
    return attention_norm_.backward_input(pass, saved.da, saved.dh, saved.attention_norm);
  }

  void backward_weight(const Pass& pass, Saved& saved) const {
    mlp_.backward_weight(pass, saved.mlp);
    mlp_norm_.backward_weight(pass, saved.mlp_norm);
    attention_.backward_weight(pass, saved.attention);
    attention_norm_.backward_weight(pass, saved.attention_norm);
    saved = {};
  }

  // Generation: the rows continue those in the cache.
  ArenaTensor extend(const Pass& pass, ArenaTensor x, KvCache& cache) const {
    typename Norm::Saved norm;
    const ArenaTensor a = attention_norm_.forward(pass, x, norm);
    const ArenaTensor h = attention_.extend(pass, a, cache, x);
    const ArenaTensor m = mlp_norm_.forward(pass, h, norm);
    typename Mlp::Saved mlp;
    return mlp_.forward(pass, m, mlp, h);
  }
  Shape kv_row() const { return attention_.kv_row(); }

 private:
  ArenaTensor compute(const Pass& pass, ArenaTensor x, Saved& saved) const {
    saved.x = std::move(x);
    saved.a = attention_norm_.forward(pass, saved.x, saved.attention_norm);
    saved.h = join(pass, "attention", saved.x,
                   [&](Tensor residual) { return attention_.forward(pass, saved.a, saved.attention, residual); });
    saved.m = mlp_norm_.forward(pass, saved.h, saved.mlp_norm);
    return join(pass, "mlp", saved.h,
                [&](Tensor residual) { return mlp_.forward(pass, saved.m, saved.mlp, residual); });
  }

  static void keep_input(Saved& saved) {
    ArenaTensor x = std::move(saved.x);
    saved = {};
    saved.x = std::move(x);
  }

  Dropout dropout(const Pass& pass, const char* branch) const {
    if (!pass.training || dropout_ == 0) return {};
    return {dropout_, key_of(pass.seed, name_ + "." + branch + ".dropout")};
  }

  // trunk + drop(branch): without dropout the branch's last GEMM adds the trunk.
  template <class Branch>
  ArenaTensor join(const Pass& pass, const char* branch, Tensor trunk, Branch run) const {
    const Dropout drop = dropout(pass, branch);
    if (drop.probability == 0) return run(trunk);
    ArenaTensor y = run(Tensor{});
    pass.ops().dropout(pass.stream(), y, y, trunk, drop, pass.batch->held_ids());
    return y;
  }

  // The gradient that enters the branch: dy itself, or drop(dy), kept in `dropped`.
  Tensor fork(const Pass& pass, const char* branch, Tensor dy, ArenaTensor& dropped) const {
    const Dropout drop = dropout(pass, branch);
    if (drop.probability == 0) return dy;
    dropped = pass.activation(dy.shape);
    pass.ops().dropout(pass.stream(), dropped, dy, {}, drop, pass.batch->held_ids());
    return dropped;
  }

  std::string name_;
  float dropout_;
  config::Recompute recompute_;
  Norm attention_norm_;
  SelfAttention attention_;
  Norm mlp_norm_;
  Mlp mlp_;
};

}  // namespace trireme
