// cuBLASLt wants a description, layouts and an algorithm for every product, and choosing the algorithm costs more than
// small products do. A stream's Gemms makes each plan once and keeps it.
//
//   - The algorithm is the first that the library's heuristic names; nothing is timed.
//   - Order::kFast: for the shape at hand, with the stream's scratch as workspace.
//   - Order::kExact: for the shape with kExactRows rows, whatever the rows at hand, without a workspace and without
//     split K; so it follows from the weight's shape and the types alone. That a row's sums then do not depend on how
//     many rows there are rests on how these kernels are built (a tile's element is one chain of multiply-adds over K
//     in the order of K, whatever tile it falls into), not on a promise of NVIDIA's, which is the same bits for the
//     same call on the same GPU model and library version. No test checks it on a GPU yet.
//   - fp32 multiplies in fp32 (CUBLAS_COMPUTE_32F; never TF32); 16-bit operands are summed in fp32.
//
// Not thread-safe: a stream is fed by one thread. Internal to cuda/device.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <tuple>

#include <cublasLt.h>

#include "cuda/core/tensor.h"
#include "cuda/ops/kernels.h"

namespace trireme::cuda {

// D [m, n] = A [m, k] B [k, n] (+ C, which is D or has its shape) (+ bias [m] to every column), in cuBLAS' column-major
// terms. All matrices are dense.
struct Gemm {
  enum class Rows { kN, kK };  // which of n and k counts the micro-batch's rows

  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false;  // A lies as [k, m]
  bool transpose_b = false;  // B lies as [n, k]
  Rows rows = Rows::kN;
  DType operands = DType::kF32;
  DType result = DType::kF32;
  bool joined = false;  // + C
  bool biased = false;  // of D's type, aligned to 16 bytes
  Order order = Order::kFast;
};

struct GemmOperands {
  void* d = nullptr;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;     // if joined; may be d
  const void* bias = nullptr;  // if biased
};

class Gemms {
 public:
  static constexpr std::int64_t kExactRows = 1024;
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

  Gemms();
  ~Gemms();
  Gemms(const Gemms&) = delete;
  Gemms& operator=(const Gemms&) = delete;

  // Puts the product on the stream that these belong to.
  void run(Stream stream, const Gemm& gemm, const GemmOperands& operands);

 private:
  struct Plan {
    cublasLtMatmulDesc_t call = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    std::size_t workspace_bytes = 0;
  };
  struct Alignment {
    std::uint32_t a, b, c, d;  // bytes
    auto operator<=>(const Alignment&) const = default;
  };
  using Key =
      std::tuple<std::int64_t, std::int64_t, std::int64_t, bool, bool, DType, DType, bool, bool, Order, Alignment>;

  Plan& plan(const Gemm& gemm, const Alignment& alignment, const void* bias);
  void describe(Plan& plan, const Gemm& gemm) const;
  void choose(Plan& plan, const Gemm& gemm, const Alignment& alignment) const;
  static void destroy(Plan& plan);

  cublasLtHandle_t library_ = nullptr;
  std::map<Key, Plan> plans_;
};

}  // namespace trireme::cuda
