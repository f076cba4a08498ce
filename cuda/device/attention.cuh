// What attention's kernels are called with. Two families compute the same: tensor-core kernels for 16-bit tensors with
// heads of 64 and 128, and plain ones for everything else. attention.cu checks the operands and
// chooses; each kernel lives in a file of its own and is launched from there.
//
// Internal to cuda/device.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "cuda/core/philox.h"
#include "cuda/device/launch.cuh"
#include "cuda/ops/kernels.h"

namespace trireme::cuda {

constexpr int kLargestAttentionHead = 256;

// Passed to kernels by value.
struct AttentionArguments {
  const void* q = nullptr;             // [R, H, D]
  const void* kv = nullptr;            // [K, 2, Hk, D]
  const std::int32_t* keys = nullptr;  // [R, 2]
  int rows = 0;                        // R
  int all_keys = 0;                    // K
  int heads = 0;                       // H
  int kv_heads = 0;                    // Hk
  int head_size = 0;                   // D
  float scale = 0;

  // Dropout: drawn if there are `samples`.
  const std::int64_t* samples = nullptr;  // [R]
  const std::int32_t* offsets = nullptr;  // [R]
  std::uint64_t dropout_key = 0;
  std::uint32_t drop_threshold = 0;
  float kept_factor = 1;  // 1 / (1 - probability)
  std::uint32_t first_head = 0;

  // Elements between the rows of a head.
  TRIREME_HOST_DEVICE std::int64_t q_stride() const { return std::int64_t{heads} * head_size; }
  TRIREME_HOST_DEVICE std::int64_t kv_stride() const { return 2 * std::int64_t{kv_heads} * head_size; }
  // Where a row of a head begins.
  TRIREME_HOST_DEVICE std::int64_t q_at(int row, int head) const {
    return (std::int64_t{row} * heads + head) * head_size;
  }
  TRIREME_HOST_DEVICE std::int64_t k_at(int key, int kv_head) const {
    return (std::int64_t{key} * 2 * kv_heads + kv_head) * head_size;
  }
  TRIREME_HOST_DEVICE std::int64_t v_at(int key, int kv_head) const {
    return k_at(key, kv_head) + std::int64_t{kv_heads} * head_size;
  }
  TRIREME_HOST_DEVICE int heads_per_kv() const { return heads / kv_heads; }
};

struct AttentionOutputs {
  void* o = nullptr;
  float* lse = nullptr;
};
// What the backward pass reads and writes.
struct AttentionGradients {
  void* dq = nullptr;
  void* dkv = nullptr;
  const void* d_o = nullptr;
  const void* o = nullptr;
  const float* lse = nullptr;
};

// CHECKs what both passes take: shapes, dtypes, and sizes that fit an int.
AttentionArguments attention_arguments(const char* op, const Tensor& q, const Tensor& kv, const Tensor& keys,
                                       float scale, const Dropout& dropout, const RowIds& rows);

// Whether the tensor-core kernels can run: 16 bits, heads of 64 or 128, a scale above 0 (the largest score is then the
// largest scaled one), and all tensors of activations aligned to 16 bytes.
bool tensor_cores_can(const AttentionArguments& in, DType dtype, std::initializer_list<Tensor> activations);

// Each enqueues one kernel.
void launch_attention_forward(const Launch&, DType, const AttentionArguments&, const AttentionOutputs&);
void launch_attention_delta(const Launch&, DType, const AttentionArguments&, const AttentionGradients&);
void launch_attention_dkv(const Launch&, DType, const AttentionArguments&, const AttentionGradients&);
void launch_attention_dq(const Launch&, DType, const AttentionArguments&, const AttentionGradients&);

void launch_plain_attention_forward(const Launch&, DType, const AttentionArguments&, const AttentionOutputs&);
void launch_plain_attention_dkv(const Launch&, DType, const AttentionArguments&, const AttentionGradients&);
void launch_plain_attention_dq(const Launch&, DType, const AttentionArguments&, const AttentionGradients&);

}  // namespace trireme::cuda
