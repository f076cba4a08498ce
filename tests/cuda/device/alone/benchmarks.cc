#include "tests/cuda/device/alone/benchmarks.h"

#include <algorithm>

#include "cuda/core/philox.h"

namespace trireme::alone {
namespace {

constexpr DType kActivation = DType::kBF16;

template <class... T>
double bytes_moved(const T&... tensors) {
  return static_cast<double>((tensors.bytes() + ...));
}

// "bf16 [8192, 4096]"
std::string shape_of(const Tensor& tensor) {
  return std::string(name_of(tensor.dtype)).append(" ").append(to_string(tensor.shape));
}

}  // namespace

Shapes small_shapes() { return {64, 32, 128, 2, 1, 64, 96, 200, 32, 5000}; }

Benchmarks::Benchmarks(Device& device, const Kernels& ops, Stream stream, const Shapes& shapes, Nothing)
    : device_(device), ops_(ops), stream_(stream), shapes_(shapes) {}

// Once the first constructor is through, the destructor frees whatever this one has allocated when it throws.
Benchmarks::Benchmarks(Device& device, const Kernels& ops, Stream stream, const Shapes& shapes)
    : Benchmarks(device, ops, stream, shapes, Nothing()) {
  add_linears();
  add_norms();
  add_embedding();
  add_pointwise();
  add_attention();
  add_loss();
  add_optimizer();
  device_.synchronize(stream_);
}

Benchmarks::~Benchmarks() {
  device_.synchronize(stream_);
  for (std::byte* block : memory_) device_.release(block);
}

Tensor Benchmarks::allocate(const Shape& shape, DType dtype) {
  Tensor tensor{nullptr, dtype, shape};
  tensor.data = device_.allocate(std::max<std::size_t>(tensor.bytes(), 1));
  memory_.push_back(tensor.data);
  return tensor;
}
Tensor Benchmarks::normal(const Shape& shape, DType dtype, float deviation) {
  const Tensor tensor = allocate(shape, dtype);
  const Tensor flat = tensor.view({tensor.elements()});
  ops_.init_normal(stream_, flat, flat.shape, {0}, mix64(memory_.size()), deviation);
  return tensor;
}
Tensor Benchmarks::filled(const Shape& shape, DType dtype, float value) {
  const Tensor tensor = allocate(shape, dtype);
  ops_.fill(stream_, tensor, value);
  return tensor;
}
Tensor Benchmarks::integers(const Shape& shape, const std::vector<std::int32_t>& values) {
  const Tensor tensor = allocate(shape, DType::kI32);
  device_.upload(stream_, tensor, values.data());
  return tensor;
}
void Benchmarks::add(std::string op, std::string shape, double bytes, double tensor_flop,
                     std::function<void(Stream)> run) {
  all_.push_back({std::move(op), std::move(shape), bytes, tensor_flop, std::move(run)});
}

void Benchmarks::add_linears() {
  const std::int64_t rows = shapes_.rows;
  struct Linear {
    const char* name;
    std::int64_t rows, in, out;
    DType y;
  };
  const std::int64_t attended = shapes_.heads * shapes_.head_size;
  for (const Linear& linear : {Linear{"q", rows, shapes_.hidden, attended, kActivation},
                               {"k and v", rows, shapes_.hidden, 2 * shapes_.kv_heads * shapes_.head_size, kActivation},
                               {"out", rows, attended, shapes_.hidden, kActivation},
                               {"gate and up", rows, shapes_.hidden, 2 * shapes_.ffn, kActivation},
                               {"down", rows, shapes_.ffn, shapes_.hidden, kActivation},
                               {"logits", shapes_.loss_rows, shapes_.hidden, shapes_.vocabulary, DType::kF32}}) {
    const Tensor x = normal({linear.rows, linear.in}, kActivation);
    const Tensor w = normal({linear.out, linear.in}, kActivation, 0.02f);
    const Tensor y = normal({linear.rows, linear.out}, linear.y), dw = filled(w.shape, DType::kF32, 0);
    const Tensor dy = linear.y == kActivation ? y : normal(y.shape, kActivation);
    const double flop =
        2 * static_cast<double>(linear.rows) * static_cast<double>(linear.in) * static_cast<double>(linear.out);
    const std::string shape =
        std::string(linear.name).append(": x ").append(shape_of(x)).append(", w ").append(to_string(w.shape));
    add("linear_forward", shape, bytes_moved(x, w, y), flop,
        [=, this](Stream s) { ops_.linear_forward(s, y, x, w, {}, {}, Order::kFast); });
    add("linear_backward_input", shape, bytes_moved(x, w, dy), flop,
        [=, this](Stream s) { ops_.linear_backward_input(s, x, dy, w, Write::kOverwrite, Order::kFast); });
    add("linear_backward_weight", shape, bytes_moved(x, dy, dw, dw), flop,
        [=, this](Stream s) { ops_.linear_backward_weight(s, dw, {}, dy, x, Order::kFast); });
  }
  const Tensor sum = normal({shapes_.rows_between, shapes_.hidden}, DType::kF32);
  const Tensor y = allocate(sum.shape, kActivation), residual = normal(sum.shape, kActivation);
  add("linear_finish", shape_of(y) + ", with residual", bytes_moved(sum, y, residual), 0,
      [=, this](Stream s) { ops_.linear_finish(s, y, sum, {}, residual); });
  const Tensor dy = normal({rows, shapes_.ffn}, kActivation), dbias = filled({shapes_.ffn}, DType::kF32, 0);
  add("linear_backward_weight", "dbias alone: dy " + shape_of(dy), bytes_moved(dy, dbias, dbias), 0,
      [=, this](Stream s) { ops_.linear_backward_weight(s, {}, dbias, dy, {}, Order::kFast); });
}

void Benchmarks::add_norms() {
  const Shape shape{shapes_.rows_between, shapes_.hidden};
  const Tensor x = normal(shape, kActivation), y = normal(shape, kActivation), dy = normal(shape, kActivation);
  const Tensor residual = normal(shape, kActivation);
  const Tensor w = filled({shapes_.hidden}, kActivation, 1), b = filled({shapes_.hidden}, kActivation, 0);
  const Tensor dw = filled({shapes_.hidden}, DType::kF32, 0), db = filled({shapes_.hidden}, DType::kF32, 0);
  const Tensor mean = filled({shape[0]}, DType::kF32, 0), rstd = filled({shape[0]}, DType::kF32, 1);
  const double two = bytes_moved(x, y), four = bytes_moved(x, y, dy, residual);
  const std::string name = shape_of(x), with_residual = name + ", with dresidual";
  add("rmsnorm_forward", name, two, 0, [=, this](Stream s) { ops_.rmsnorm_forward(s, y, rstd, x, w, 1e-5f); });
  add("rmsnorm_backward_input", with_residual, four, 0,
      [=, this](Stream s) { ops_.rmsnorm_backward_input(s, y, dy, residual, x, rstd, w); });
  add("rmsnorm_backward_weight", name, two, 0,
      [=, this](Stream s) { ops_.rmsnorm_backward_weight(s, dw, dy, x, rstd); });
  add("layernorm_forward", name, two, 0,
      [=, this](Stream s) { ops_.layernorm_forward(s, y, mean, rstd, x, w, b, 1e-5f); });
  add("layernorm_backward_input", with_residual, four, 0,
      [=, this](Stream s) { ops_.layernorm_backward_input(s, y, dy, residual, x, mean, rstd, w); });
  add("layernorm_backward_weight", name, two, 0,
      [=, this](Stream s) { ops_.layernorm_backward_weight(s, dw, db, dy, x, mean, rstd); });

  const Tensor samples = filled({shape[0]}, DType::kI64, 3), offsets = filled({shape[0]}, DType::kI32, 5);
  add("dropout", name + ", with residual", bytes_moved(x, y, residual), 0, [=, this](Stream s) {
    ops_.dropout(s, y, x, residual, Dropout{0.1f, 7}, RowIds{samples, offsets});
  });
}

// Distinct tokens, and as many as one text has: half of them are among the 64 most frequent.
void Benchmarks::add_embedding() {
  const Tensor y = normal({shapes_.rows, shapes_.hidden}, kActivation);
  const Tensor table = normal({shapes_.vocabulary, shapes_.hidden}, kActivation, 0.02f);
  const Tensor dtable = filled(table.shape, DType::kF32, 0);
  std::vector<std::int32_t> distinct, frequent;
  for (std::int64_t r = 0; r < shapes_.rows; ++r) {
    distinct.push_back(static_cast<std::int32_t>(r * 7919 % shapes_.vocabulary));
    frequent.push_back(r % 2 == 0 ? distinct.back() : static_cast<std::int32_t>(mix64(distinct.size()) % 64));
  }
  const Tensor ids = integers({shapes_.rows}, distinct), of_text = integers({shapes_.rows}, frequent);
  add("embedding_forward", shape_of(y), 2 * bytes_moved(y), 0,
      [=, this](Stream s) { ops_.embedding_forward(s, y, ids, table, 0, Write::kOverwrite); });
  const double row = bytes_moved(dtable) / static_cast<double>(shapes_.vocabulary);
  const auto entries = [](std::vector<std::int32_t> values) {
    std::sort(values.begin(), values.end());
    return static_cast<double>(std::unique(values.begin(), values.end()) - values.begin());
  };
  add("embedding_backward", "dy " + shape_of(y) + ", ids distinct", bytes_moved(y) + 2 * row * entries(distinct), 0,
      [=, this](Stream s) { ops_.embedding_backward(s, dtable, ids, y, 0); });
  add("embedding_backward", "dy " + shape_of(y) + ", half of the ids among 64",
      bytes_moved(y) + 2 * row * entries(frequent), 0,
      [=, this](Stream s) { ops_.embedding_backward(s, dtable, of_text, y, 0); });
}

void Benchmarks::add_pointwise() {
  const Tensor gate_up = normal({shapes_.rows, 2, shapes_.ffn}, kActivation);
  const Tensor dgate_up = normal(gate_up.shape, kActivation);
  const Tensor act = normal({shapes_.rows, shapes_.ffn}, kActivation), dact = normal(act.shape, kActivation);
  add("swiglu_forward", shape_of(gate_up), bytes_moved(gate_up, act), 0,
      [=, this](Stream s) { ops_.swiglu_forward(s, act, gate_up); });
  add("swiglu_backward", shape_of(gate_up), bytes_moved(gate_up, dgate_up, act), 0,
      [=, this](Stream s) { ops_.swiglu_backward(s, dgate_up, act, gate_up); });
  add("gelu_forward", shape_of(act), bytes_moved(act, dact), 0,
      [=, this](Stream s) { ops_.gelu_forward(s, dact, act); });
  add("gelu_backward", shape_of(act), bytes_moved(act, dact, dact), 0,
      [=, this](Stream s) { ops_.gelu_backward(s, dact, dact, act); });
}

void Benchmarks::add_attention() {
  const Shapes& n = shapes_;
  const Tensor q = normal({n.rows, n.heads, n.head_size}, kActivation), o = normal(q.shape, kActivation);
  const Tensor d_o = normal(q.shape, kActivation), dq = normal(q.shape, kActivation);
  const Tensor kv = normal({n.rows, 2, n.kv_heads, n.head_size}, kActivation), dkv = normal(kv.shape, kActivation);
  const Tensor lse = filled({n.rows, n.heads}, DType::kF32, 0);
  std::vector<std::int32_t> causal, positions;
  for (std::int64_t r = 0; r < n.rows; ++r) {
    causal.insert(causal.end(), {0, static_cast<std::int32_t>(r + 1)});
    positions.push_back(static_cast<std::int32_t>(r));
  }
  const Tensor keys = integers({n.rows, 2}, causal), position = integers({n.rows}, positions);
  const double pairs = static_cast<double>(n.rows) * static_cast<double>(n.rows + 1) / 2;
  const double products = static_cast<double>(n.head_size * n.heads) * pairs;
  const float scale = 0.088f;
  const std::string shape = "causal: q " + shape_of(q) + ", kv " + to_string(kv.shape);
  ops_.attention_forward(stream_, o, lse, q, kv, keys, scale, {}, {});
  add("attention_forward", shape, bytes_moved(q, kv, o, lse), 4 * products,
      [=, this](Stream s) { ops_.attention_forward(s, o, lse, q, kv, keys, scale, {}, {}); });
  add("attention_backward", shape, bytes_moved(q, kv, o, d_o, lse, dq, dkv), 10 * products,
      [=, this](Stream s) { ops_.attention_backward(s, dq, dkv, d_o, o, lse, q, kv, keys, scale, {}, {}); });
  const Tensor turned_q = dq.view({n.rows, 1, n.heads, n.head_size});
  add("rope", "q " + shape_of(turned_q), 2 * bytes_moved(q), 0,
      [=, this](Stream s) { ops_.rope(s, turned_q, position, 500000, 1); });
  add("rope", "k of " + shape_of(dkv), bytes_moved(dkv), 0,
      [=, this](Stream s) { ops_.rope(s, dkv, position, 500000, 1); });
}

void Benchmarks::add_loss() {
  const std::int64_t rows = shapes_.loss_rows;
  const Tensor logits = normal({rows, shapes_.vocabulary}, DType::kF32), dlogits = allocate(logits.shape, kActivation);
  const Tensor statistics = filled({rows, 4}, DType::kF32, 1), parts = filled({2, rows, 4}, DType::kF32, 1);
  const Tensor targets = filled({rows}, DType::kI32, 5), weights = filled({rows}, DType::kF32, 1);
  const Tensor loss = filled({rows}, DType::kF32, 0), scale = filled({1}, DType::kF32, 1);
  CrossEntropy options;
  options.valid_columns = options.vocabulary = shapes_.vocabulary;
  add("cross_entropy_statistics", shape_of(logits), bytes_moved(logits, statistics, targets), 0,
      [=, this](Stream s) { ops_.cross_entropy_statistics(s, statistics, logits, targets, options); });
  add("cross_entropy_merge", shape_of(parts), bytes_moved(parts, statistics), 0,
      [=, this](Stream s) { ops_.cross_entropy_merge(s, statistics, parts); });
  add("cross_entropy_loss", shape_of(statistics), bytes_moved(statistics, weights, loss), 0,
      [=, this](Stream s) { ops_.cross_entropy_loss(s, loss, statistics, weights, options); });
  add("cross_entropy_backward", shape_of(logits) + " to bf16", bytes_moved(logits, dlogits, statistics), 0,
      [=, this](Stream s) {
        ops_.cross_entropy_backward(s, dlogits, logits, statistics, targets, weights, scale, options);
      });
}

void Benchmarks::add_optimizer() {
  const Shape shape{shapes_.parameters};
  const Tensor gradient = normal(shape, DType::kF32), other = normal(shape, DType::kF32);
  const Tensor parameter = normal(shape, kActivation), master = normal(shape, DType::kF32);
  const Tensor m = filled(shape, DType::kF32, 0), v = filled(shape, DType::kF32, 0);
  const Tensor sums = filled({(shapes_.parameters + 1023) / 1024}, DType::kF32, 0);
  const Tensor flags = filled({1}, DType::kI32, 0);
  const auto one = [&] { return filled({1}, DType::kF32, 1); };
  const auto none = [&](DType dtype) { return filled({1}, dtype, 0); };
  const StepControl control{.norm = one(),
                            .clip = one(),
                            .factor = one(),
                            .skip = none(DType::kI32),
                            .applied = filled({1}, DType::kI64, 1),
                            .scale = one(),
                            .good = none(DType::kI64)};
  lists_[0] = {parameter}, lists_[1] = {master}, lists_[2] = {m}, lists_[3] = {v}, lists_[4] = {gradient};
  const std::string name = shape_of(gradient);
  add("square_sums", name, bytes_moved(gradient, sums), 0,
      [=, this](Stream s) { ops_.square_sums(s, sums, lists_[4]); });
  add("find_nonfinite", name, bytes_moved(gradient), 0,
      [=, this](Stream s) { ops_.find_nonfinite(s, flags, lists_[4]); });
  add("decide_step", shape_of(sums), bytes_moved(sums), 0,
      [=, this](Stream s) { ops_.decide_step(s, control, sums, 1, {}); });
  add("adamw", name, bytes_moved(gradient, master, master, m, m, v, v, parameter), 0, [=, this](Stream s) {
    ops_.adamw(s, lists_[0], lists_[1], lists_[2], lists_[3], lists_[4], control, {1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f});
  });
  add_whole_tensors(gradient, other, parameter);
}

void Benchmarks::add_whole_tensors(const Tensor& gradient, const Tensor& other, const Tensor& parameter) {
  const std::string name = shape_of(gradient);
  for (int i = 0; i < 8; ++i) parts_.push_back(filled(gradient.shape, DType::kF32, 1));
  const Tensor total = filled({1}, DType::kF32, 0), count = filled({1}, DType::kI64, 7);
  const Tensor to = parts_[0], ratio = filled({1}, DType::kF32, 0);
  add("fill", name, bytes_moved(other), 0, [=, this](Stream s) { ops_.fill(s, other, 0.5f); });
  add("copy", name + " to bf16", bytes_moved(gradient, parameter), 0,
      [=, this](Stream s) { ops_.copy(s, parameter, gradient); });
  add("add", name, bytes_moved(gradient, other, other), 0, [=, this](Stream s) { ops_.add(s, other, gradient); });
  add("sum_tree", "8 of " + name, 9 * bytes_moved(to), 0, [=, this](Stream s) { ops_.sum_tree(s, to, parts_); });
  add("add_sum", name, bytes_moved(gradient), 0, [=, this](Stream s) { ops_.add_sum(s, total, gradient); });
  add("reciprocal", shape_of(ratio), bytes_moved(ratio, count, total), 0,
      [=, this](Stream s) { ops_.reciprocal(s, ratio, count, total); });
  add("init_normal", name, bytes_moved(other), 0,
      [=, this](Stream s) { ops_.init_normal(s, other, other.shape, {0}, 11, 0.02f); });
}

}  // namespace trireme::alone
