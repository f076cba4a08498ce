// Each op of the table at the shapes of one training step of the 8B recipe (launch/recipes/llama-8b.yaml), one rank of
// tp = 2: what it has to move and to multiply, and a call of it. Where an op is called at several shapes or with other
// optional tensors, it stands here more than once. Operands are allocated once and shared by ops of one shape; their
// values are random where values matter to speed or to finiteness.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/ops/kernels.h"

namespace trireme::alone {

struct Shapes {
  std::int64_t rows = 8192;          // of a micro-batch
  std::int64_t rows_between = 4096;  // of them between layers, where the sequence is divided over tp
  std::int64_t hidden = 4096;
  std::int64_t heads = 16;
  std::int64_t kv_heads = 4;
  std::int64_t head_size = 128;
  std::int64_t ffn = 7168;
  std::int64_t vocabulary = 64128;  // columns of this rank
  std::int64_t loss_rows = 4096;
  std::int64_t parameters = 62'736'416;  // elements of a tensor of the optimizer: of 4.0e9, over 64 ranks
};
Shapes small_shapes();  // for trying the driver where there is no GPU to measure

struct Benchmark {
  std::string op;     // as in cuda/ops/kernels.h
  std::string shape;  // "bf16, x [8192, 4096], w [2048, 4096]"
  double bytes = 0;
  double tensor_flop = 0;  // on tensor cores
  std::function<void(Stream)> run;
};

// Owns the operands; a benchmark may run while it lives.
class Benchmarks {
 public:
  Benchmarks(Device& device, const Kernels& ops, Stream stream, const Shapes& shapes);
  ~Benchmarks();
  Benchmarks(const Benchmarks&) = delete;
  Benchmarks& operator=(const Benchmarks&) = delete;

  const std::vector<Benchmark>& all() const { return all_; }

 private:
  struct Nothing {};
  Benchmarks(Device& device, const Kernels& ops, Stream stream, const Shapes& shapes, Nothing);
  Tensor normal(const Shape& shape, DType dtype, float deviation = 1);
  Tensor filled(const Shape& shape, DType dtype, float value);
  Tensor integers(const Shape& shape, const std::vector<std::int32_t>& values);
  Tensor allocate(const Shape& shape, DType dtype);
  void add(std::string op, std::string shape, double bytes, double tensor_flop, std::function<void(Stream)> run);

  void add_linears();
  void add_norms();
  void add_embedding();
  void add_pointwise();
  void add_attention();
  void add_loss();
  void add_optimizer();
  void add_whole_tensors(const Tensor& gradient, const Tensor& other, const Tensor& parameter);

  Device& device_;
  const Kernels& ops_;
  Stream stream_;
  const Shapes shapes_;
  std::vector<std::byte*> memory_;
  std::vector<Tensor> lists_[5];  // of one tensor: parameters, masters, moments, gradients
  std::vector<Tensor> parts_;     // of a tree
  std::vector<Benchmark> all_;
};

}  // namespace trireme::alone
