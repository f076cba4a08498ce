// The CUDA ops under their own names, one for each entry of cuda/ops/kernels.h, where the contracts stand. Each checks
// its operands, launches on the stream and returns. Internal to cuda/device.
#pragma once

#include "cuda/ops/kernels.h"

namespace trireme::cuda {

void linear_forward(Stream, Tensor y, Tensor x, Tensor w, Tensor bias, Tensor residual, Order);
void linear_backward_input(Stream, Tensor dx, Tensor dy, Tensor w, Write, Order);
void linear_backward_weight(Stream, Tensor dw, Tensor dbias, Tensor dy, Tensor x, Order);
void linear_finish(Stream, Tensor y, Tensor sum, Tensor bias, Tensor residual);
void embedding_forward(Stream, Tensor y, Tensor ids, Tensor table, std::int64_t first, Write);
void embedding_backward(Stream, Tensor dtable, Tensor ids, Tensor dy, std::int64_t first);
void layernorm_forward(Stream, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor w, Tensor b, float epsilon);
void layernorm_backward_input(Stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor mean, Tensor rstd,
                              Tensor w);
void layernorm_backward_weight(Stream, Tensor dw, Tensor db, Tensor dy, Tensor x, Tensor mean, Tensor rstd);
void rmsnorm_forward(Stream, Tensor y, Tensor rstd, Tensor x, Tensor w, float epsilon);
void rmsnorm_backward_input(Stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor rstd, Tensor w);
void rmsnorm_backward_weight(Stream, Tensor dw, Tensor dy, Tensor x, Tensor rstd);
void rope(Stream, Tensor x, Tensor positions, double theta, int sign);
void attention_forward(Stream, Tensor o, Tensor lse, Tensor q, Tensor kv, Tensor keys, float scale, Dropout,
                       RowIds rows);
void attention_backward(Stream, Tensor dq, Tensor dkv, Tensor d_o, Tensor o, Tensor lse, Tensor q, Tensor kv,
                        Tensor keys, float scale, Dropout, RowIds rows);
void gelu_forward(Stream, Tensor y, Tensor x);
void gelu_backward(Stream, Tensor dx, Tensor dy, Tensor x);
void swiglu_forward(Stream, Tensor y, Tensor x);
void swiglu_backward(Stream, Tensor dx, Tensor dy, Tensor x);
void dropout(Stream, Tensor y, Tensor x, Tensor residual, Dropout, RowIds rows);
void cross_entropy_statistics(Stream, Tensor statistics, Tensor logits, Tensor targets, CrossEntropy);
void cross_entropy_merge(Stream, Tensor statistics, Tensor parts);
void cross_entropy_loss(Stream, Tensor loss, Tensor statistics, Tensor weights, CrossEntropy);
void cross_entropy_backward(Stream, Tensor dlogits, Tensor logits, Tensor statistics, Tensor targets, Tensor weights,
                            Tensor scale, CrossEntropy);
void fill(Stream, Tensor x, float value);
void copy(Stream, Tensor to, Tensor from);
void add(Stream, Tensor to, Tensor from);
void sum_tree(Stream, Tensor to, Tensors parts);
void add_sum(Stream, Tensor total, Tensor x);
void reciprocal(Stream, Tensor ratio, Tensor count, Tensor numerator);
void init_normal(Stream, Tensor x, Shape global, Shape begin, std::uint64_t key, float std);
void square_sums(Stream, Tensor sums, Tensors x);
void find_nonfinite(Stream, Tensor flags, Tensors x);
void decide_step(Stream, StepControl, Tensor sums, float limit, LossScale);
void adamw(Stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients, StepControl, AdamW);

}  // namespace trireme::cuda
