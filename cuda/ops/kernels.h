// Every op of Trireme, once: its shapes, its equation and the bytes it has to move. A back end (cuda/host, cuda/device)
// is a filled table; everything above calls through it and does not know which. A missing entry does not compile.
//
// Conventions
//   R rows (tokens of the micro-batch, sample after sample), C hidden size, O and I the sizes of a linear, V vocabulary
//   columns, H heads, Hk heads of K and V, D head size, F ffn size. s is the bytes of the activations' dtype.
//   Activations and parameters are fp32, bf16 or fp16, all alike in one call unless said; sums are fp32; gradients of
//   parameters and the optimizer's tensors are fp32. "f32", "i32", "i64" mark what is always so.
//   Gradients of parameters are added to (`+=`); other outputs are overwritten, whatever they held.
//   An optional tensor is one that is not given(). Outputs may not alias inputs unless said. R may be 0.
//   Every op but a linear in Order::kFast gives the same bits for any number of threads, and treats a row the same
//   whatever rows stand beside it; sums over rows run in an order that the rows of that call fix (cuda/README.md).
#pragma once

#include <cstdint>

#include "cuda/core/device.h"
#include "cuda/core/tensor.h"

namespace trireme {

// Who chooses the order of the sums of a GEMM.
enum class Order {
  kFast,   // the library
  kExact,  // we do: the same bits for any number of threads, and a row does not depend on R
};
enum class Write { kOverwrite, kAdd };

// Identifies rows across layouts, for dropout.
struct RowIds {
  Tensor sample;  // [R] i64: global index of the row's sample
  Tensor offset;  // [R] i32: the row's place within the sample
};
struct Dropout {
  float probability = 0;  // 0: none, and nothing else is read
  std::uint64_t key = 0;  // key_of(seed, site), cuda/core/philox.h
  // Of attention: which of the layer's heads head 0 of the call is, so that a rank with some of them draws what one
  // rank with all would.
  std::int64_t first_head = 0;
};

struct CrossEntropy {
  std::int64_t first_column = 0;   // which column of the vocabulary the logits' column 0 is
  std::int64_t valid_columns = 0;  // columns of the logits that are part of the vocabulary; the rest is padding
  std::int64_t vocabulary = 0;     // all of it, over all ranges
  float label_smoothing = 0;
  float z_loss = 0;
};

struct AdamW {
  float learning_rate = 0;
  float beta1 = 0;
  float beta2 = 0;
  float epsilon = 0;
  float weight_decay = 0;
};

// How the loss scale moves. fp16 has no number below 6e-8: the loss is multiplied by a scale that lifts gradients above
// that, as far as they do not overflow at 65504. P. Micikevicius et al., "Mixed precision training", ICLR 2018. With
// these defaults it stays what it is.
struct LossScale {
  float growth = 1;              // times so much after `interval` steps in a row that were not skipped
  float backoff = 1;             // times so much when a step is skipped
  float least = 0;               // but not below
  std::int64_t interval = 2000;  // at least 1
};

// What a step decides from its gradients. It stays on the device: within a step nobody reads it on the host.
struct StepControl {
  Tensor norm;     // [1] f32: the gradients' global L2 norm, without the loss scale
  Tensor clip;     // [1] f32: what gradients without the loss scale are to be multiplied by
  Tensor factor;   // [1] f32: and those as they are: clip / the scale that they carry
  Tensor skip;     // [1] i32: 1 if the step must not change any weight
  Tensor applied;  // [1] i64: updates applied so far, this one included
  Tensor scale;    // [1] f32: what the loss is multiplied by; a power of two then changes no bit that fp32 can hold
  Tensor good;     // [1] i64: steps in a row that were not skipped, since the scale last changed
};

struct Kernels {
  // --- linear. x [R, I], y [R, O], w [O, I], bias [O].
  // y = x w^T + bias + residual. bias, residual [R, O] optional; residual may alias y. y may be f32 whatever x is.
  // 2 R O I FLOP; (R I + O I + R O) s bytes.
  void (*linear_forward)(Stream, Tensor y, Tensor x, Tensor w, Tensor bias, Tensor residual, Order);
  // dx = dy w, or dx += dy w. dx may be f32 whatever dy is. 2 R O I FLOP.
  void (*linear_backward_input)(Stream, Tensor dx, Tensor dy, Tensor w, Write, Order);
  // dw [O, I] f32 (optional; without it x is not read) += dy^T x; dbias [O] f32 (optional) += column sums of dy. 2 R O
  // I FLOP.
  void (*linear_backward_weight)(Stream, Tensor dw, Tensor dbias, Tensor dy, Tensor x, Order);
  // y = sum + bias + residual, rounded once: what ends a linear whose sum [R, O] f32 came together over ranks. bias,
  // residual [R, O] optional, of y's dtype; residual may alias y, and the sum too if y is f32. R O (4 + 2 s) bytes.
  void (*linear_finish)(Stream, Tensor y, Tensor sum, Tensor bias, Tensor residual);

  // --- embedding. table [N, C], ids [R] i32.
  // y[r] = table[ids[r] - first], or y[r] += it; a row whose id lies outside [first, first + N) is 0 (or left alone). y
  // may be f32 whatever the table is.
  // 2 R C s bytes.
  void (*embedding_forward)(Stream, Tensor y, Tensor ids, Tensor table, std::int64_t first, Write);
  // dtable [N, C] f32: dtable[ids[r] - first] += dy[r].
  void (*embedding_backward)(Stream, Tensor dtable, Tensor ids, Tensor dy, std::int64_t first);

  // --- norms. x, y [R, C]; w, b [C]; mean, rstd [R] f32.
  // LayerNorm: y = (x - mean) rstd w + b, rstd = 1/sqrt(var + epsilon), var = mean((x - mean)^2).  2 R C s bytes.
  void (*layernorm_forward)(Stream, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor w, Tensor b, float epsilon);
  // dx = rstd (g - mean(g) - xhat mean(g xhat)) + dresidual, g = dy w, xhat = (x - mean) rstd. dresidual [R, C]
  // optional, may alias dx.  3 or 4 R C s bytes.
  void (*layernorm_backward_input)(Stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor mean, Tensor rstd,
                                   Tensor w);
  // dw, db [C] f32: dw += sum over rows of dy xhat, db += sum over rows of dy.
  void (*layernorm_backward_weight)(Stream, Tensor dw, Tensor db, Tensor dy, Tensor x, Tensor mean, Tensor rstd);
  // RMSNorm: y = x rstd w, rstd = 1/sqrt(mean(x^2) + epsilon).
  void (*rmsnorm_forward)(Stream, Tensor y, Tensor rstd, Tensor x, Tensor w, float epsilon);
  // dx = rstd (g - xhat mean(g xhat)) + dresidual, g = dy w, xhat = x rstd.
  void (*rmsnorm_backward_input)(Stream, Tensor dx, Tensor dy, Tensor dresidual, Tensor x, Tensor rstd, Tensor w);
  void (*rmsnorm_backward_weight)(Stream, Tensor dw, Tensor dy, Tensor x, Tensor rstd);

  // --- rotary positions, in place. x [R, S, H, D], D even: only x[:, 0] is turned (Q: S = 1; K and V: S = 2).
  // positions [R] i32. Pairs (d, d + D/2) turn by sign * position * theta^(-2d/D); sign = 1 forward, -1 backward.
  void (*rope)(Stream, Tensor x, Tensor positions, double theta, int sign);

  // --- attention. q, o [R, H, D]; kv [K, 2, Hk, D]; keys [R, 2] i32; lse [R, H] f32. H is a multiple of Hk; head h
  // uses K and V of head h / (H / Hk). Row r attends to rows [keys[r][0], keys[r][1]) of kv; both ends never fall from
  // one row to the next; an empty range gives o = 0, lse = -inf. That says causal, full, packed documents and cached
  // keys alike. s_j = scale q k_j; lse = log sum_j exp(s_j); o = sum_j drop(exp(s_j - lse)) v_j. Never [R, K] in
  // memory. Dropped by (sample and offset of the query's row, offset of the key's row, head + first_head); `rows`
  // describes both (then K = R) and is read only if dropout.probability > 0. Of 16-bit activations a back end may round
  // exp(s_j - m), m the largest s of the row so far, to their dtype before it is multiplied by v_j.   4 D H (pairs)
  // FLOP.
  void (*attention_forward)(Stream, Tensor o, Tensor lse, Tensor q, Tensor kv, Tensor keys, float scale, Dropout,
                            RowIds rows);
  // dq [R, H, D], dkv [K, 2, Hk, D]. With p_j = exp(s_j - lse), f_j what dropout multiplies by, delta = sum_d d_o o:
  // ds_j = p_j (f_j d_o v_j - delta); dq = scale sum_j ds_j k_j, dk_j = scale sum_r ds_j q, dv_j = sum_r f_j p_j d_o.
  // p_j and ds_j may be rounded as before. Sums over rows run in the order of heads, then rows.  10 D H (pairs) FLOP.
  void (*attention_backward)(Stream, Tensor dq, Tensor dkv, Tensor d_o, Tensor o, Tensor lse, Tensor q, Tensor kv,
                             Tensor keys, float scale, Dropout, RowIds rows);

  // --- pointwise. GELU by tanh: y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Any shape, x and y alike.
  void (*gelu_forward)(Stream, Tensor y, Tensor x);               // 2 n s bytes
  void (*gelu_backward)(Stream, Tensor dx, Tensor dy, Tensor x);  // dx may alias dy. 3 n s bytes
  // x [R, 2, F] (gate, up): y [R, F] = gate sigmoid(gate) up.  3 R F s bytes.
  void (*swiglu_forward)(Stream, Tensor y, Tensor x);
  void (*swiglu_backward)(Stream, Tensor dx, Tensor dy, Tensor x);  // 5 R F s bytes
  // y = drop(x) + residual. x, y [R, C]; residual optional, may alias y; x may alias y. The gradient is the same op on
  // dy.
  void (*dropout)(Stream, Tensor y, Tensor x, Tensor residual, Dropout, RowIds rows);

  // --- cross-entropy over a range of the vocabulary. logits [R, V] f32; targets [R] i32 (of the whole vocabulary);
  // weights [R] f32 (0: masked; then the target is not read); statistics [R, 4] f32.
  // statistics = {max_j l_j, sum_j exp(l_j - max), l_target (0 if not in the range), sum_j l_j} over valid columns.
  // R V 4 bytes.
  void (*cross_entropy_statistics)(Stream, Tensor statistics, Tensor logits, Tensor targets, CrossEntropy);
  // Joins the statistics of several ranges: parts [n, R, 4].
  void (*cross_entropy_merge)(Stream, Tensor statistics, Tensor parts);
  // loss [R] f32 = weight ((1 - e) (lse - l_target) + e (lse - sum l / vocabulary) + z lse^2), e label smoothing, z
  // z-loss.
  void (*cross_entropy_loss)(Stream, Tensor loss, Tensor statistics, Tensor weights, CrossEntropy);
  // dlogits [R, V] (any dtype; may alias f32 logits), with scale [1] f32:
  // weight scale (softmax_j (1 + 2 z lse) - (1 - e) [j = target] - e / vocabulary); 0 in padding columns.
  void (*cross_entropy_backward)(Stream, Tensor dlogits, Tensor logits, Tensor statistics, Tensor targets,
                                 Tensor weights, Tensor scale, CrossEntropy);

  // --- whole tensors of any shape
  void (*fill)(Stream, Tensor x, float value);         // f32, bf16, fp16; i32 and i64: the value rounded
  void (*copy)(Stream, Tensor to, Tensor from);        // converts, rounding to nearest even; integers to the same dtype
  void (*add)(Stream, Tensor to, Tensor from);         // f32: to += from
  void (*sum_tree)(Stream, Tensor to, Tensors parts);  // f32: (p0 + p1) + (p2 + p3) ...; `to` may alias parts[0]
  // total [1] f32 += sum of x (f32), in a tree over fixed blocks of 1024.
  void (*add_sum)(Stream, Tensor total, Tensor x);
  // ratio [1] f32 = numerator / count, rounded once; numerator [1] f32, count [1] i64; 0 when the count is 0.
  void (*reciprocal)(Stream, Tensor ratio, Tensor count, Tensor numerator);

  // --- initial weights. x is the box at `begin` of a tensor of shape `global`; element e (row-major in the global
  // tensor) is normal with mean 0 and deviation std, from Philox by Box-Muller in fp64, rounded: the same for any box.
  void (*init_normal)(Stream, Tensor x, Shape global, Shape begin, std::uint64_t key, float std);

  // --- gradients and the optimizer, f32, over lists of tensors.
  // sums [sum over tensors of ceil(n / 1024)] f32: of squares, by blocks of 1024 elements of each tensor. 4 n bytes.
  void (*square_sums)(Stream, Tensor sums, Tensors x);
  // flags [number of tensors] i32: set to 1 where a tensor holds an infinity or a NaN, else left as they are. 4 n
  // bytes.
  void (*find_nonfinite)(Stream, Tensor flags, Tensors x);
  // norm = sqrt(sum of sums) / scale (fixed tree); clip = norm > limit > 0 ? limit / norm : 1; factor = clip / scale;
  // skip = norm not finite, as it is when any term is not; applied += 1 - skip. Then, for the next step:
  // if skip: scale = max(scale backoff, least), good = 0; else if good + 1 >= interval: good = 0 and scale *= growth,
  // unless that is infinite; else good += 1. Each operation is rounded to fp32, in the order written.
  void (*decide_step)(Stream, StepControl, Tensor sums, float limit, LossScale);
  // Unless skip: g = factor grad; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; t = applied;
  // master -= lr ((m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon) + decay master); parameter = rounded master.
  // parameters[i] may alias masters[i] (fp32). I. Loshchilov, F. Hutter, "Decoupled weight decay", ICLR 2019.
  // (28 + s) n bytes.
  void (*adamw)(Stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients, StepControl,
                AdamW);
};

}  // namespace trireme
