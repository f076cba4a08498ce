#include "trainer/model/attention.h"

#include <cmath>
#include <utility>

#include "cuda/core/philox.h"

namespace trireme {

SelfAttention::SelfAttention(ParamList& list, const std::string& name, const Options& options)
    : name_(name),
      options_(options),
      scale_(1.0f / std::sqrt(static_cast<float>(options.head_dim))),
      first_(list.specs().size()),
      q_(list, name + ".q", {options.heads, options.head_dim}, {options.hidden_size}, options.bias, options.init_std,
         {0, Axis::kTp}),
      kv_(list, name + ".kv", {2, options.kv_heads, options.head_dim}, {options.hidden_size}, options.bias,
          options.init_std, {1, Axis::kTp, options.kv_heads}),
      out_(list, name + ".out", {options.hidden_size}, {options.heads, options.head_dim}, options.bias,
           options.out_init_std, {1, Axis::kTp}),
      calls_(name) {}

void SelfAttention::turn(const Pass& pass, Tensor q, Tensor kv, int sign) const {
  if (!options_.rope_theta) return;
  const Tensor one_slot = q.view({q.size(0), 1, q.size(1), q.size(2)});
  pass.ops().rope(pass.stream(), one_slot, pass.batch->positions, *options_.rope_theta, sign);
  pass.ops().rope(pass.stream(), kv, pass.batch->positions, *options_.rope_theta, sign);
}

Dropout SelfAttention::dropout(const Pass& pass) const {
  if (!pass.training || options_.dropout == 0) return {};
  return {options_.dropout, key_of(pass.seed, name_ + ".dropout"), pass.parameters->box(first_).begin[0]};
}

ArenaTensor SelfAttention::forward(const Pass& pass, Tensor x, Saved& saved, Tensor residual) const {
  saved.x = x;
  {
    const GatheredRows rows = pass.gather(x, calls_.x);
    saved.q = q_.forward(pass, rows);
    saved.kv = kv_.forward(pass, rows);
  }
  turn(pass, saved.q, saved.kv, +1);
  core(pass, saved);
  return out_.forward(pass, saved.o, residual);
}

void SelfAttention::core(const Pass& pass, Saved& saved) const {
  saved.o = pass.activation(saved.q->shape);
  saved.lse = pass.statistic({saved.q->size(0), saved.q->size(1)});
  pass.ops().attention_forward(pass.stream(), saved.o, saved.lse, saved.q, saved.kv, pass.batch->keys, scale_,
                               dropout(pass), pass.batch->ids);
}

void SelfAttention::forget_core(Saved& saved) const {
  saved.o = {};
  saved.lse = {};
}

void SelfAttention::recompute_core(const Pass& pass, Saved& saved) const { core(pass, saved); }

ArenaTensor SelfAttention::backward_input(const Pass& pass, Tensor dy, Saved& saved) const {
  saved.dy = pass.gather(dy, calls_.dy);
  saved.dq = pass.activation(saved.q->shape);
  saved.dkv = pass.activation(saved.kv->shape);
  {
    const ArenaTensor d_o = pass.activation(saved.o->shape);
    out_.backward_input(pass, d_o, saved.dy);
    pass.ops().attention_backward(pass.stream(), saved.dq, saved.dkv, d_o, saved.o, saved.lse, saved.q, saved.kv,
                                  pass.batch->keys, scale_, dropout(pass), pass.batch->ids);
  }
  saved.q = {};
  saved.kv = {};
  saved.lse = {};
  turn(pass, saved.dq, saved.dkv, -1);
  PartialRows dx = pass.partial(saved.x.size(1));
  q_.backward_input(pass, dx, saved.dq);
  kv_.backward_input(pass, dx, saved.dkv, Write::kAdd);
  return pass.sum(std::move(dx), calls_.dx);
}

void SelfAttention::backward_weight(const Pass& pass, Saved& saved) const {
  out_.backward_weight(pass, saved.dy, saved.o);
  const GatheredRows x = pass.gather(saved.x, calls_.again);
  kv_.backward_weight(pass, saved.dkv, x);
  q_.backward_weight(pass, saved.dq, x);
  saved = {};
}

ArenaTensor SelfAttention::extend(const Pass& pass, Tensor x, KvCache& cache, Tensor residual) const {
  const std::int64_t rows = x.size(0);
  CHECK(cache.filled + rows <= cache.kv->size(0), "the cache holds ", cache.kv->size(0), " rows");
  const ArenaTensor q = q_.forward(pass, x);
  const Tensor now = cache.kv->rows(cache.filled, cache.filled + rows);
  {
    const ArenaTensor kv = kv_.forward(pass, x);
    pass.ops().copy(pass.stream(), now, kv);
  }
  turn(pass, q, now, +1);
  cache.filled += rows;
  const ArenaTensor o = pass.activation(q->shape);
  const ArenaTensor lse = pass.statistic({rows, options_.heads});
  pass.ops().attention_forward(pass.stream(), o, lse, q, cache.kv->rows(0, cache.filled), pass.batch->keys, scale_, {},
                               {});
  return out_.forward(pass, o, residual);
}

}  // namespace trireme
