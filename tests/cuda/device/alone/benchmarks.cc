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

}  // namespace

Shapes small_shapes() { return {64, 128, 2, 1, 64, 96, 200, 32, 5000}; }

Benchmarks::Benchmarks(Device& device, const Kernels& ops, Stream stream, const Shapes& shapes, Nothing)
    : device_(device), ops_(ops), stream_(stream), shapes_(shapes) {}

// Once the first constructor is through, the destructor frees whatever this one has allocated when it throws.
Benchmarks::Benchmarks(Device& device, const Kernels& ops, Stream stream, const Shapes& shapes)
    : Benchmarks(device, ops, stream, shapes, Nothing()) {
  add_linears();
  add_rows();
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
void Benchmarks::add(std::string name, double bytes, double tensor_flop, std::function<void(Stream)> run) {
  all_.push_back({std::move(name), bytes, tensor_flop, std::move(run)});
}

void Benchmarks::add_linears() {
  const std::int64_t rows = shapes_.rows;
  struct Linear {
    const char* name;
    std::int64_t in, out;
  };
  const std::int64_t attended = shapes_.heads * shapes_.head_size;
  for (const Linear& linear : {Linear{"q", shapes_.hidden, attended},
                               {"kv", shapes_.hidden, 2 * shapes_.kv_heads * shapes_.head_size},
                               {"attention's output", attended, shapes_.hidden},
                               {"gate and up", shapes_.hidden, 2 * shapes_.ffn},
                               {"down", shapes_.ffn, shapes_.hidden}}) {
    const Tensor x = normal({rows, linear.in}, kActivation), w = normal({linear.out, linear.in}, kActivation, 0.02f);
    const Tensor y = normal({rows, linear.out}, kActivation), dw = filled(w.shape, DType::kF32, 0);
    const double flop =
        2 * static_cast<double>(rows) * static_cast<double>(linear.in) * static_cast<double>(linear.out);
    const std::string shape = std::string(", ") + linear.name + " " + to_string(w.shape);
    add("linear_forward" + shape, bytes_moved(x, w, y), flop,
        [=, this](Stream s) { ops_.linear_forward(s, y, x, w, {}, {}, Order::kFast); });
    add("linear_backward_input" + shape, bytes_moved(x, w, y), flop,
        [=, this](Stream s) { ops_.linear_backward_input(s, x, y, w, Write::kOverwrite, Order::kFast); });
    add("linear_backward_weight" + shape, bytes_moved(x, y, dw, dw), flop,
        [=, this](Stream s) { ops_.linear_backward_weight(s, dw, {}, y, x, Order::kFast); });
  }
}

void Benchmarks::add_rows() {
  const Shape shape{shapes_.rows, shapes_.hidden};
  const Tensor x = normal(shape, kActivation), y = normal(shape, kActivation), dy = normal(shape, kActivation);
  const Tensor sum = normal(shape, DType::kF32);
  const Tensor w = filled({shapes_.hidden}, kActivation, 1), b = filled({shapes_.hidden}, kActivation, 0);
  const Tensor dw = filled({shapes_.hidden}, DType::kF32, 0), db = filled({shapes_.hidden}, DType::kF32, 0);
  const Tensor mean = filled({shapes_.rows}, DType::kF32, 0), rstd = filled({shapes_.rows}, DType::kF32, 1);
  const double three = bytes_moved(x, y, dy), two = bytes_moved(x, y);
  add("rmsnorm_forward", two, 0, [=, this](Stream s) { ops_.rmsnorm_forward(s, y, rstd, x, w, 1e-5f); });
  add("rmsnorm_backward_input", three, 0,
      [=, this](Stream s) { ops_.rmsnorm_backward_input(s, y, dy, {}, x, rstd, w); });
  add("rmsnorm_backward_weight", two, 0, [=, this](Stream s) { ops_.rmsnorm_backward_weight(s, dw, dy, x, rstd); });
  add("layernorm_forward", two, 0, [=, this](Stream s) { ops_.layernorm_forward(s, y, mean, rstd, x, w, b, 1e-5f); });
  add("layernorm_backward_input", three, 0,
      [=, this](Stream s) { ops_.layernorm_backward_input(s, y, dy, {}, x, mean, rstd, w); });
  add("layernorm_backward_weight", two, 0,
      [=, this](Stream s) { ops_.layernorm_backward_weight(s, dw, db, dy, x, mean, rstd); });
  add("linear_finish", bytes_moved(sum, y, x), 0, [=, this](Stream s) { ops_.linear_finish(s, y, sum, {}, x); });
  add("copy, fp32 to bf16", bytes_moved(sum, y), 0, [=, this](Stream s) { ops_.copy(s, y, sum); });
  const Tensor ids = integers({shapes_.rows}, [&] {
    std::vector<std::int32_t> values;
    for (std::int64_t r = 0; r < shapes_.rows; ++r)
      values.push_back(static_cast<std::int32_t>(r * 7919 % shapes_.vocabulary));
    return values;
  }());
  const Tensor table = normal({shapes_.vocabulary, shapes_.hidden}, kActivation, 0.02f);
  const Tensor dtable = filled(table.shape, DType::kF32, 0);
  add("embedding_forward", two, 0,
      [=, this](Stream s) { ops_.embedding_forward(s, y, ids, table, 0, Write::kOverwrite); });
  add("embedding_backward", bytes_moved(dy, sum, sum), 0,
      [=, this](Stream s) { ops_.embedding_backward(s, dtable, ids, dy, 0); });

  const Tensor gate_up = normal({shapes_.rows, 2, shapes_.ffn}, kActivation),
               dgate_up = normal(gate_up.shape, kActivation);
  const Tensor act = normal({shapes_.rows, shapes_.ffn}, kActivation), dact = normal(act.shape, kActivation);
  add("swiglu_forward", bytes_moved(gate_up, act), 0, [=, this](Stream s) { ops_.swiglu_forward(s, act, gate_up); });
  add("swiglu_backward", bytes_moved(gate_up, dgate_up, act), 0,
      [=, this](Stream s) { ops_.swiglu_backward(s, dgate_up, act, gate_up); });
  add("gelu_forward", bytes_moved(act, dact), 0, [=, this](Stream s) { ops_.gelu_forward(s, dact, act); });
  add("gelu_backward", bytes_moved(act, dact, dact), 0,
      [=, this](Stream s) { ops_.gelu_backward(s, dact, dact, act); });

  const Tensor samples = filled({shapes_.rows}, DType::kI64, 3), offsets = ids;
  add("dropout", three, 0, [=, this](Stream s) {
    ops_.dropout(s, y, x, dy, Dropout{0.1f, 7}, RowIds{samples, offsets});
  });
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
  ops_.attention_forward(stream_, o, lse, q, kv, keys, scale, {}, {});
  add("attention_forward, causal", bytes_moved(q, kv, o, lse), 4 * products,
      [=, this](Stream s) { ops_.attention_forward(s, o, lse, q, kv, keys, scale, {}, {}); });
  add("attention_backward, causal", bytes_moved(q, kv, o, d_o, lse, dq, dkv), 10 * products,
      [=, this](Stream s) { ops_.attention_backward(s, dq, dkv, d_o, o, lse, q, kv, keys, scale, {}, {}); });
  const Tensor turned = d_o.view({n.rows, 1, n.heads, n.head_size});
  add("rope, q", 2 * bytes_moved(q), 0, [=, this](Stream s) { ops_.rope(s, turned, position, 500000, 1); });
}

void Benchmarks::add_loss() {
  const Tensor logits = normal({shapes_.loss_rows, shapes_.vocabulary}, DType::kF32);
  const Tensor dlogits = allocate(logits.shape, kActivation);
  const Tensor statistics = filled({shapes_.loss_rows, 4}, DType::kF32, 1);
  const Tensor targets = filled({shapes_.loss_rows}, DType::kI32, 5);
  const Tensor weights = filled({shapes_.loss_rows}, DType::kF32, 1), scale = filled({1}, DType::kF32, 1);
  CrossEntropy options;
  options.valid_columns = options.vocabulary = shapes_.vocabulary;
  add("cross_entropy_statistics", bytes_moved(logits), 0,
      [=, this](Stream s) { ops_.cross_entropy_statistics(s, statistics, logits, targets, options); });
  add("cross_entropy_backward", bytes_moved(logits, dlogits), 0, [=, this](Stream s) {
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
  add("add", bytes_moved(gradient, other, other), 0, [=, this](Stream s) { ops_.add(s, other, gradient); });
  add("square_sums", bytes_moved(gradient), 0, [=, this](Stream s) { ops_.square_sums(s, sums, lists_[4]); });
  add("find_nonfinite", bytes_moved(gradient), 0, [=, this](Stream s) { ops_.find_nonfinite(s, flags, lists_[4]); });
  add("decide_step", bytes_moved(sums), 0, [=, this](Stream s) { ops_.decide_step(s, control, sums, 1, {}); });
  add("adamw", bytes_moved(gradient, master, master, m, m, v, v, parameter), 0, [=, this](Stream s) {
    ops_.adamw(s, lists_[0], lists_[1], lists_[2], lists_[3], lists_[4], control, {1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f});
  });
  add("init_normal", bytes_moved(master), 0,
      [=, this](Stream s) { ops_.init_normal(s, other, other.shape, {0}, 11, 0.02f); });
}

}  // namespace trireme::alone
