#include "cuda/device/attention.cuh"
#include "cuda/device/ops.h"

namespace trireme::cuda {

AttentionArguments attention_arguments(const char* op, const Tensor& q, const Tensor& kv, const Tensor& keys,
                                       float scale, const Dropout& dropout, const RowIds& rows) {
  CHECK(q.shape.dims() == 3 && kv.shape.dims() == 4, op, ": q ", to_string(q.shape), ", kv ", to_string(kv.shape));
  const std::int64_t heads = q.size(1);
  const std::int64_t kv_heads = kv.size(2);
  check_operand(op, "kv", kv, q.dtype, {kv.size(0), 2, kv_heads, q.size(2)});
  check_operand(op, "keys", keys, DType::kI32, {q.size(0), 2});
  CHECK(kv_heads > 0 && heads % kv_heads == 0, op, ": ", heads, " heads on ", kv_heads);
  CHECK(1 <= q.size(2) && q.size(2) <= kLargestAttentionHead, op, ": heads of ", q.size(2), ", at most ",
        kLargestAttentionHead);
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  CHECK(q.size(0) <= kMost && kv.size(0) <= kMost, op, ": ", q.size(0), " rows, ", kv.size(0), " keys");
  AttentionArguments in;
  in.q = q.data;
  in.kv = kv.data;
  in.keys = as<const std::int32_t>(keys);
  in.rows = static_cast<int>(q.size(0));
  in.all_keys = static_cast<int>(kv.size(0));
  in.heads = static_cast<int>(heads);
  in.kv_heads = static_cast<int>(kv_heads);
  in.head_size = static_cast<int>(q.size(2));
  in.scale = scale;
  if (dropout.probability <= 0) return in;
  CHECK(dropout.probability < 1, op, ": probability ", dropout.probability);
  CHECK(q.size(0) == kv.size(0), op, ": dropout needs as many keys as rows");
  check_operand(op, "rows.sample", rows.sample, DType::kI64, {q.size(0)});
  check_operand(op, "rows.offset", rows.offset, DType::kI32, {q.size(0)});
  in.samples = as<const std::int64_t>(rows.sample);
  in.offsets = as<const std::int32_t>(rows.offset);
  in.dropout_key = dropout.key;
  in.drop_threshold = drop_threshold(dropout.probability);
  in.kept_factor = static_cast<float>(1.0 / (1.0 - static_cast<double>(dropout.probability)));
  in.first_head = static_cast<std::uint32_t>(dropout.first_head);
  return in;
}

bool tensor_cores_can(const AttentionArguments& in, DType dtype, std::initializer_list<Tensor> activations) {
  return dtype != DType::kF32 && (in.head_size == 64 || in.head_size == 128) && in.scale > 0 &&
         packs_aligned(8, in.head_size, activations);
}

void attention_forward(Stream stream, Tensor o, Tensor lse, Tensor q, Tensor kv, Tensor keys, float scale,
                       Dropout dropout, RowIds rows) {
  const char* op = "attention_forward";
  const Launch launch(stream, op);
  const AttentionArguments in = attention_arguments(op, q, kv, keys, scale, dropout, rows);
  check_operand(op, "o", o, q.dtype, q.shape);
  check_operand(op, "lse", lse, DType::kF32, {q.size(0), q.size(1)});
  if (q.elements() == 0) return;
  const AttentionOutputs out{o.data, as<float>(lse)};
  if (tensor_cores_can(in, q.dtype, {q, kv, o}))
    launch_attention_forward(launch, q.dtype, in, out);
  else
    launch_plain_attention_forward(launch, q.dtype, in, out);
}

void attention_backward(Stream stream, Tensor dq, Tensor dkv, Tensor d_o, Tensor o, Tensor lse, Tensor q, Tensor kv,
                        Tensor keys, float scale, Dropout dropout, RowIds rows) {
  const char* op = "attention_backward";
  const Launch launch(stream, op);
  const AttentionArguments in = attention_arguments(op, q, kv, keys, scale, dropout, rows);
  check_operand(op, "dq", dq, q.dtype, q.shape);
  check_operand(op, "dkv", dkv, q.dtype, kv.shape);
  check_operand(op, "d_o", d_o, q.dtype, q.shape);
  check_operand(op, "o", o, q.dtype, q.shape);
  check_operand(op, "lse", lse, DType::kF32, {q.size(0), q.size(1)});
  const AttentionGradients out{dq.data, dkv.data, d_o.data, o.data, as<const float>(lse)};
  const bool tensor_cores = tensor_cores_can(in, q.dtype, {q, kv, dq, dkv, d_o, o});
  if (tensor_cores && in.rows > 0) launch_attention_delta(launch, q.dtype, in, out);
  if (kv.elements() > 0) (tensor_cores ? launch_attention_dkv : launch_plain_attention_dkv)(launch, q.dtype, in, out);
  if (q.elements() > 0) (tensor_cores ? launch_attention_dq : launch_plain_attention_dq)(launch, q.dtype, in, out);
}

}  // namespace trireme::cuda
