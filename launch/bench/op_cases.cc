// The work of each case is what cuda/ops/kernels.h says of the op; where it says nothing, every operand read once and
// every output written once (read too where it is added to).
#include "launch/bench/op_bench.h"

namespace trireme {
namespace {

std::string text(const char* name, const Shape& shape) { return name + to_string(shape); }
double count(const Shape& shape) { return static_cast<double>(shape.elements()); }

// --- linear: the four matrices of a block, and a chunk of the head.
struct LinearSize {
  std::int64_t rows, out, in;
};
constexpr std::int64_t kHeadRows = 512;  // train.loss_chunk_rows

std::vector<LinearSize> linears(const OpBench& b) {
  return {{b.R, 3 * b.C, b.C}, {b.R, b.C, b.C}, {b.R, b.F, b.C}, {b.R, b.C, b.F}, {std::min(kHeadRows, b.R), b.V, b.C}};
}
std::string text(const LinearSize& size) {
  return "R=" + std::to_string(size.rows) + " O=" + std::to_string(size.out) + " I=" + std::to_string(size.in);
}
Work linear_work(const LinearSize& size, double s_of_x, double s_of_y, double s_of_w) {
  const auto r = static_cast<double>(size.rows), o = static_cast<double>(size.out), i = static_cast<double>(size.in);
  return {2 * r * o * i, s_of_x * r * i + s_of_y * r * o + s_of_w * o * i};
}

void linear_forward(OpBench& b) {
  for (const LinearSize& n : linears(b)) {
    const bool head = n.out == b.V;
    const Tensor x = b.activation({n.rows, n.in}), w = b.activation({n.out, n.in});
    const Tensor bias = head ? Tensor() : b.activation({n.out});
    const Tensor y = head ? b.f32({n.rows, n.out}) : b.activation({n.rows, n.out});
    b.measure(text(n), linear_work(n, b.s, head ? 4 : b.s, b.s),
              [&] { b.ops.linear_forward(b.stream, y, x, w, bias, {}, Order::kFast); });
  }
}
void linear_backward_input(OpBench& b) {
  for (const LinearSize& n : linears(b)) {
    const Tensor dx = b.activation({n.rows, n.in}), w = b.activation({n.out, n.in});
    const Tensor dy = b.activation({n.rows, n.out});
    b.measure(text(n), linear_work(n, b.s, b.s, b.s),
              [&] { b.ops.linear_backward_input(b.stream, dx, dy, w, Write::kOverwrite, Order::kFast); });
  }
}
void linear_backward_weight(OpBench& b) {
  for (const LinearSize& n : linears(b)) {
    const Tensor x = b.activation({n.rows, n.in}), dy = b.activation({n.rows, n.out});
    const Tensor dw = b.f32({n.out, n.in}), dbias = n.out == b.V ? Tensor() : b.f32({n.out});
    b.measure(text(n), linear_work(n, b.s, b.s, 2 * 4),
              [&] { b.ops.linear_backward_weight(b.stream, dw, dbias, dy, x, Order::kFast); });
  }
}
void linear_finish(OpBench& b) {
  const Tensor y = b.activation({b.R, b.C}), sum = b.f32({b.R, b.C}), bias = b.activation({b.C});
  b.measure(text("with residual ", y.shape), {0, count(y.shape) * (4 + 2 * b.s)},
            [&] { b.ops.linear_finish(b.stream, y, sum, bias, y); });
}

// --- rows [R, C] in and out
void embedding_forward(OpBench& b) {
  const Tensor y = b.activation({b.R, b.C}), ids = b.tokens(), table = b.activation({b.V, b.C});
  b.measure(text("", y.shape), {0, 2 * count(y.shape) * b.s},
            [&] { b.ops.embedding_forward(b.stream, y, ids, table, 0, Write::kOverwrite); });
}
void embedding_backward(OpBench& b) {
  const Tensor dy = b.activation({b.R, b.C}), ids = b.tokens(), dtable = b.f32({b.V, b.C});
  b.measure(text("", dy.shape), {0, count(dy.shape) * (b.s + 8)},
            [&] { b.ops.embedding_backward(b.stream, dtable, ids, dy, 0); });
}

struct NormOperands {
  Tensor x, y, dy, w, bias, mean, rstd, dw, db;
  double n;
  explicit NormOperands(OpBench& b)
      : x(b.activation({b.R, b.C})),
        y(b.activation({b.R, b.C})),
        dy(b.activation({b.R, b.C})),
        w(b.activation({b.C})),
        bias(b.activation({b.C})),
        mean(b.f32({b.R})),
        rstd(b.f32({b.R})),
        dw(b.f32({b.C})),
        db(b.f32({b.C})),
        n(count(x.shape)) {}
};
constexpr float kEpsilon = 1e-5f;

void layernorm_forward(OpBench& b) {
  const NormOperands o(b);
  b.measure(text("", o.x.shape), {0, 2 * o.n * b.s},
            [&] { b.ops.layernorm_forward(b.stream, o.y, o.mean, o.rstd, o.x, o.w, o.bias, kEpsilon); });
}
void layernorm_backward_input(OpBench& b) {
  const NormOperands o(b);
  b.measure(text("with residual ", o.x.shape), {0, 4 * o.n * b.s},
            [&] { b.ops.layernorm_backward_input(b.stream, o.y, o.dy, o.y, o.x, o.mean, o.rstd, o.w); });
}
void layernorm_backward_weight(OpBench& b) {
  const NormOperands o(b);
  b.measure(text("", o.x.shape), {0, 2 * o.n * b.s},
            [&] { b.ops.layernorm_backward_weight(b.stream, o.dw, o.db, o.dy, o.x, o.mean, o.rstd); });
}
void rmsnorm_forward(OpBench& b) {
  const NormOperands o(b);
  b.measure(text("", o.x.shape), {0, 2 * o.n * b.s},
            [&] { b.ops.rmsnorm_forward(b.stream, o.y, o.rstd, o.x, o.w, kEpsilon); });
}
void rmsnorm_backward_input(OpBench& b) {
  const NormOperands o(b);
  b.measure(text("with residual ", o.x.shape), {0, 4 * o.n * b.s},
            [&] { b.ops.rmsnorm_backward_input(b.stream, o.y, o.dy, o.y, o.x, o.rstd, o.w); });
}
void rmsnorm_backward_weight(OpBench& b) {
  const NormOperands o(b);
  b.measure(text("", o.x.shape), {0, 2 * o.n * b.s},
            [&] { b.ops.rmsnorm_backward_weight(b.stream, o.dw, o.dy, o.x, o.rstd); });
}

void rope(OpBench& b) {
  const Tensor x = b.activation({b.R, 1, b.H, b.D}), positions = b.positions();
  b.measure(text("", x.shape), {0, 2 * count(x.shape) * b.s}, [&] { b.ops.rope(b.stream, x, positions, 10000, 1); });
}

// --- attention, causal
struct AttentionOperands {
  Tensor q, kv, o, lse, keys;
  Work forward, backward;
  explicit AttentionOperands(OpBench& b)
      : q(b.filled({b.R, b.H, b.D}, b.dtype, 0.125f)),
        kv(b.filled({b.R, 2, b.H, b.D}, b.dtype, 0.125f)),
        o(b.activation({b.R, b.H, b.D})),
        lse(b.f32({b.R, b.H})),
        keys(b.causal()) {
    const double pairs = static_cast<double>(b.R) * static_cast<double>(b.T + 1) / 2;
    const double products = static_cast<double>(b.D * b.H) * pairs;
    forward = {4 * products, 4 * count(q.shape) * b.s};
    backward = {10 * products, 8 * count(q.shape) * b.s};
  }
};
constexpr float kScale = 0.125f;

void attention_forward(OpBench& b) {
  const AttentionOperands a(b);
  b.measure(text("q ", a.q.shape) + " T=" + std::to_string(b.T), a.forward,
            [&] { b.ops.attention_forward(b.stream, a.o, a.lse, a.q, a.kv, a.keys, kScale, {}, {}); });
}
void attention_backward(OpBench& b) {
  const AttentionOperands a(b);
  const Tensor d_o = b.activation(a.q.shape), dq = b.activation(a.q.shape), dkv = b.activation(a.kv.shape);
  b.ops.attention_forward(b.stream, a.o, a.lse, a.q, a.kv, a.keys, kScale, {}, {});
  b.measure(text("q ", a.q.shape) + " T=" + std::to_string(b.T), a.backward,
            [&] { b.ops.attention_backward(b.stream, dq, dkv, d_o, a.o, a.lse, a.q, a.kv, a.keys, kScale, {}, {}); });
}

// --- pointwise
void gelu_forward(OpBench& b) {
  const Tensor x = b.activation({b.R, b.F}), y = b.activation(x.shape);
  b.measure(text("", x.shape), {0, 2 * count(x.shape) * b.s}, [&] { b.ops.gelu_forward(b.stream, y, x); });
}
void gelu_backward(OpBench& b) {
  const Tensor x = b.activation({b.R, b.F}), dy = b.activation(x.shape);
  b.measure(text("", x.shape), {0, 3 * count(x.shape) * b.s}, [&] { b.ops.gelu_backward(b.stream, dy, dy, x); });
}
void swiglu_forward(OpBench& b) {
  const Tensor x = b.activation({b.R, 2, b.F}), y = b.activation({b.R, b.F});
  b.measure(text("", y.shape), {0, 3 * count(y.shape) * b.s}, [&] { b.ops.swiglu_forward(b.stream, y, x); });
}
void swiglu_backward(OpBench& b) {
  const Tensor x = b.activation({b.R, 2, b.F}), dx = b.activation(x.shape), dy = b.activation({b.R, b.F});
  b.measure(text("", dy.shape), {0, 5 * count(dy.shape) * b.s}, [&] { b.ops.swiglu_backward(b.stream, dx, dy, x); });
}
void dropout(OpBench& b) {
  const Tensor x = b.activation({b.R, b.C}), y = b.activation(x.shape), residual = b.activation(x.shape);
  const RowIds rows = b.row_ids();
  b.measure(text("with residual ", x.shape), {0, 3 * count(x.shape) * b.s}, [&] {
    b.ops.dropout(b.stream, y, x, residual, {0.1f, 1}, rows);
  });
}

// --- cross-entropy, a chunk of rows at a time
struct LossOperands {
  Tensor logits, targets, statistics, weights, losses, scale;
  CrossEntropy options;
  explicit LossOperands(OpBench& b)
      : logits(b.f32({std::min(kHeadRows, b.R), b.V})),
        targets(b.tokens().rows(0, logits.size(0))),
        statistics(b.f32({logits.size(0), 4})),
        weights(b.f32({logits.size(0)})),
        losses(b.f32({logits.size(0)})),
        scale(b.f32({1})) {
    options.valid_columns = options.vocabulary = b.V;
    b.ops.cross_entropy_statistics(b.stream, statistics, logits, targets, options);
  }
};
void cross_entropy_statistics(OpBench& b) {
  const LossOperands l(b);
  b.measure(text("", l.logits.shape), {0, 4 * count(l.logits.shape)},
            [&] { b.ops.cross_entropy_statistics(b.stream, l.statistics, l.logits, l.targets, l.options); });
}
void cross_entropy_merge(OpBench& b) {
  const Tensor statistics = b.f32({b.R, 4}), parts = b.f32({2, b.R, 4});
  b.measure(text("", parts.shape), {0, 4 * (count(statistics.shape) + count(parts.shape))},
            [&] { b.ops.cross_entropy_merge(b.stream, statistics, parts); });
}
void cross_entropy_loss(OpBench& b) {
  const LossOperands l(b);
  b.measure(text("", l.losses.shape), {0, 24 * count(l.losses.shape)},
            [&] { b.ops.cross_entropy_loss(b.stream, l.losses, l.statistics, l.weights, l.options); });
}
void cross_entropy_backward(OpBench& b) {
  const LossOperands l(b);
  const Tensor dlogits = b.activation(l.logits.shape);
  b.measure(text("", l.logits.shape), {0, (4 + b.s) * count(l.logits.shape)}, [&] {
    b.ops.cross_entropy_backward(b.stream, dlogits, l.logits, l.statistics, l.targets, l.weights, l.scale, l.options);
  });
}

// --- whole tensors: a matrix of the MLP, and its gradient
void fill(OpBench& b) {
  const Tensor x = b.activation({b.F, b.C});
  b.measure(text("", x.shape), {0, count(x.shape) * b.s}, [&] { b.ops.fill(b.stream, x, 0); });
}
void copy(OpBench& b) {
  const Tensor to = b.activation({b.F, b.C}), from = b.f32({b.F, b.C});
  b.measure(text("from fp32 ", to.shape), {0, count(to.shape) * (4 + b.s)}, [&] { b.ops.copy(b.stream, to, from); });
}
void add(OpBench& b) {
  const Tensor to = b.f32({b.F, b.C}), from = b.f32({b.F, b.C});
  b.measure(text("", to.shape), {0, 12 * count(to.shape)}, [&] { b.ops.add(b.stream, to, from); });
}
void sum_tree(OpBench& b) {
  const Tensor to = b.f32({b.F, b.C});
  const std::vector<Tensor> parts = {b.f32(to.shape), b.f32(to.shape), b.f32(to.shape), b.f32(to.shape)};
  b.measure(text("4 parts ", to.shape), {0, 20 * count(to.shape)}, [&] { b.ops.sum_tree(b.stream, to, parts); });
}
void add_sum(OpBench& b) {
  const Tensor total = b.f32({1}), x = b.f32({b.F, b.C});
  b.measure(text("", x.shape), {0, 4 * count(x.shape)}, [&] { b.ops.add_sum(b.stream, total, x); });
}
void reciprocal(OpBench& b) {
  const Tensor ratio = b.f32({1}), divisor = b.filled({1}, DType::kI64, 3), numerator = b.f32({1});
  b.measure("[1]", {0, 16}, [&] { b.ops.reciprocal(b.stream, ratio, divisor, numerator); });
}
void init_normal(OpBench& b) {
  const Tensor x = b.f32({b.F, b.C});
  b.measure(text("", x.shape), {0, 4 * count(x.shape)}, [&] {
    b.ops.init_normal(b.stream, x, x.shape, {0, 0}, 1, 0.02f);
  });
}

// --- gradients and the optimizer: the token embedding
std::int64_t blocks_of(const Tensor& x) { return (x.elements() + 1023) / 1024; }

void square_sums(OpBench& b) {
  const std::vector<Tensor> x = {b.f32({b.V, b.C})};
  const Tensor sums = b.f32({blocks_of(x[0])});
  b.measure(text("", x[0].shape), {0, 4 * count(x[0].shape)}, [&] { b.ops.square_sums(b.stream, sums, x); });
}
void find_nonfinite(OpBench& b) {
  const std::vector<Tensor> x = {b.f32({b.V, b.C})};
  const Tensor flags = b.filled({1}, DType::kI32, 0);
  b.measure(text("", x[0].shape), {0, 4 * count(x[0].shape)}, [&] { b.ops.find_nonfinite(b.stream, flags, x); });
}
StepControl control(OpBench& b) {
  return {.norm = b.f32({1}),
          .clip = b.f32({1}),
          .factor = b.f32({1}),
          .skip = b.filled({1}, DType::kI32, 0),
          .applied = b.filled({1}, DType::kI64, 1),
          .scale = b.filled({1}, DType::kF32, 1),
          .good = b.filled({1}, DType::kI64, 0)};
}
void decide_step(OpBench& b) {
  const StepControl decided = control(b);
  const Tensor sums = b.f32({b.V * b.C / 1024 + 1});
  b.measure(text("", sums.shape), {0, 4 * count(sums.shape)},
            [&] { b.ops.decide_step(b.stream, decided, sums, 1, LossScale()); });
}
void adamw(OpBench& b) {
  const std::vector<Tensor> parameters = {b.activation({b.V, b.C})}, masters = {b.f32({b.V, b.C})};
  const std::vector<Tensor> m = {b.f32({b.V, b.C})}, v = {b.f32({b.V, b.C})}, gradients = {b.f32({b.V, b.C})};
  const StepControl decided = control(b);
  const AdamW options{.learning_rate = 1e-4f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f};
  b.measure(text("", masters[0].shape), {0, (28 + b.s) * count(masters[0].shape)},
            [&] { b.ops.adamw(b.stream, parameters, masters, m, v, gradients, decided, options); });
}

}  // namespace

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = {
      {"linear_forward", linear_forward},
      {"linear_backward_input", linear_backward_input},
      {"linear_backward_weight", linear_backward_weight},
      {"linear_finish", linear_finish},
      {"embedding_forward", embedding_forward},
      {"embedding_backward", embedding_backward},
      {"layernorm_forward", layernorm_forward},
      {"layernorm_backward_input", layernorm_backward_input},
      {"layernorm_backward_weight", layernorm_backward_weight},
      {"rmsnorm_forward", rmsnorm_forward},
      {"rmsnorm_backward_input", rmsnorm_backward_input},
      {"rmsnorm_backward_weight", rmsnorm_backward_weight},
      {"rope", rope},
      {"attention_forward", attention_forward},
      {"attention_backward", attention_backward},
      {"gelu_forward", gelu_forward},
      {"gelu_backward", gelu_backward},
      {"swiglu_forward", swiglu_forward},
      {"swiglu_backward", swiglu_backward},
      {"dropout", dropout},
      {"cross_entropy_statistics", cross_entropy_statistics},
      {"cross_entropy_merge", cross_entropy_merge},
      {"cross_entropy_loss", cross_entropy_loss},
      {"cross_entropy_backward", cross_entropy_backward},
      {"fill", fill},
      {"copy", copy},
      {"add", add},
      {"sum_tree", sum_tree},
      {"add_sum", add_sum},
      {"reciprocal", reciprocal},
      {"init_normal", init_normal},
      {"square_sums", square_sums},
      {"find_nonfinite", find_nonfinite},
      {"decide_step", decide_step},
      {"adamw", adamw},
  };
  return cases;
}

}  // namespace trireme
