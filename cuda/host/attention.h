// What both passes of attention on the host read. Internal to cuda/host.
#pragma once

#include "cuda/ops/kernels.h"

namespace trireme::host {

struct AttentionInputs {
  Tensor q;     // [R, H, D]
  Tensor kv;    // [K, 2, Hk, D]
  Tensor keys;  // [R, 2] i32
  float scale = 0;
  Dropout dropout;
  RowIds rows;

  std::int64_t heads() const { return q.size(1); }
  std::int64_t kv_heads() const { return kv.size(2); }
  std::int64_t head_size() const { return q.size(2); }
  std::int64_t heads_per_kv() const { return heads() / kv_heads(); }
};

// What only the backward pass takes.
struct AttentionGradients {
  Tensor dq;
  Tensor dkv;
  Tensor d_o;
  Tensor o;
  Tensor lse;
};

// CHECKs shapes and dtypes.
void check_attention(const char* op, const AttentionInputs& in);

}  // namespace trireme::host
