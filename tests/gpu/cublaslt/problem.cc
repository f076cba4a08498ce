#include "tests/gpu/cublaslt/problem.h"

#include <initializer_list>
#include <utility>

namespace trireme::gpu::cublaslt {
namespace {

void refuse_unless(bool holds, cublasStatus_t status, const std::string& why) {
  if (!holds) throw Status(status, why);
}

void check_layout(const char* name, const Layout& layout) {
  const std::string matrix = std::string("matrix ") + name;
  refuse_unless(layout.order == CUBLASLT_ORDER_COL || layout.order == CUBLASLT_ORDER_ROW, CUBLAS_STATUS_NOT_SUPPORTED,
                matrix + " is in order " + std::to_string(layout.order) + "; column and row are implemented");
  refuse_unless(bytes_of(layout.type) > 0, CUBLAS_STATUS_NOT_SUPPORTED,
                matrix + " has data type " + std::to_string(layout.type) + "; fp32, bf16 and fp16 are implemented");
  refuse_unless(layout.rows > 0 && layout.columns > 0, CUBLAS_STATUS_INVALID_VALUE, matrix + " is empty");
  const std::uint64_t least = layout.order == CUBLASLT_ORDER_COL ? layout.rows : layout.columns;
  refuse_unless(
      layout.leading >= static_cast<std::int64_t>(least), CUBLAS_STATUS_INVALID_VALUE,
      matrix + " has leading dimension " + std::to_string(layout.leading) + ", less than " + std::to_string(least));
  refuse_unless(layout.batches >= 1, CUBLAS_STATUS_INVALID_VALUE, matrix + " has no batch");
}

void check_types(const Problem& problem) {
  const std::int32_t in = problem.a.type;
  const std::int32_t out = problem.d.type;
  refuse_unless(problem.b.type == in && problem.c.type == out && (out == in || out == CUDA_R_32F),
                CUBLAS_STATUS_NOT_SUPPORTED,
                std::string("A ") + name_of(in) + ", B " + name_of(problem.b.type) + ", C " + name_of(problem.c.type) +
                    ", D " + name_of(out) + " is not in the table of supported types");
  refuse_unless(problem.description.compute_type == CUBLAS_COMPUTE_32F ||
                    problem.description.compute_type == CUBLAS_COMPUTE_32F_PEDANTIC,
                CUBLAS_STATUS_NOT_SUPPORTED,
                "compute type " + std::to_string(problem.description.compute_type) +
                    "; CUBLAS_COMPUTE_32F is implemented, without TF32");
  refuse_unless(problem.description.scale_type == CUDA_R_32F, CUBLAS_STATUS_NOT_SUPPORTED,
                "alpha and beta are not fp32, as compute type 32F needs");
}

void check_shapes(Problem& problem) {
  const auto turned = [](const Layout& layout, std::int32_t operation) {
    return operation == CUBLAS_OP_N ? std::pair(layout.rows, layout.columns) : std::pair(layout.columns, layout.rows);
  };
  for (const std::int32_t operation : {problem.description.transpose_a, problem.description.transpose_b})
    refuse_unless(operation == CUBLAS_OP_N || operation == CUBLAS_OP_T, CUBLAS_STATUS_NOT_SUPPORTED,
                  "operation " + std::to_string(operation) + " on a matrix of reals");
  refuse_unless(problem.description.transpose_c == CUBLAS_OP_N, CUBLAS_STATUS_NOT_SUPPORTED, "C cannot be transposed");
  const auto [m, k] = turned(problem.a, problem.description.transpose_a);
  const auto [other_k, n] = turned(problem.b, problem.description.transpose_b);
  const auto text = [](std::uint64_t rows, std::uint64_t columns) {
    return "[" + std::to_string(rows) + ", " + std::to_string(columns) + "]";
  };
  refuse_unless(
      k == other_k && problem.d.rows == m && problem.d.columns == n && problem.c.rows == m && problem.c.columns == n,
      CUBLAS_STATUS_INVALID_VALUE,
      "op(A) " + text(m, k) + ", op(B) " + text(other_k, n) + ", C " + text(problem.c.rows, problem.c.columns) +
          " and D " + text(problem.d.rows, problem.d.columns) + " do not fit");
  refuse_unless(problem.c.order == problem.d.order, CUBLAS_STATUS_NOT_SUPPORTED, "C and D are in different orders");
  for (const Layout* layout : {&problem.b, &problem.c, &problem.d})
    refuse_unless(layout->batches == problem.a.batches, CUBLAS_STATUS_INVALID_VALUE,
                  "the matrices have different numbers of batches");
  problem.m = m;
  problem.n = n;
  problem.k = k;
  problem.batches = problem.a.batches;
}

void check_epilogue(const Problem& problem) {
  const Description& description = problem.description;
  switch (description.epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
      return;
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_DGELU_BGRAD:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
      break;
    default:
      throw Status(CUBLAS_STATUS_NOT_SUPPORTED, "epilogue " + std::to_string(description.epilogue) +
                                                    " is not implemented; bias and GELU and their gradients are");
  }
  refuse_unless(problem.d.order == CUBLASLT_ORDER_COL, CUBLAS_STATUS_NOT_SUPPORTED,
                "an epilogue other than the default, with D in row order");
  if (problem.adds_bias() || problem.bias_gradient() || problem.sums_a() || problem.sums_b()) {
    refuse_unless(description.bias != nullptr, CUBLAS_STATUS_INVALID_VALUE, "the epilogue needs a bias pointer");
    refuse_unless(reinterpret_cast<std::uintptr_t>(description.bias) % bytes_of(problem.d.type) == 0,
                  CUBLAS_STATUS_INVALID_VALUE, "the bias pointer is not aligned to its elements");
    refuse_unless(
        description.bias_type == -1 || description.bias_type == problem.d.type, CUBLAS_STATUS_NOT_SUPPORTED,
        std::string("a bias in ") + name_of(description.bias_type) + " where D is in " + name_of(problem.d.type));
  }
  if (!problem.aux()) return;
  refuse_unless(description.aux != nullptr, CUBLAS_STATUS_INVALID_VALUE, "the epilogue needs an auxiliary matrix");
  refuse_unless(reinterpret_cast<std::uintptr_t>(description.aux) % 16 == 0, CUBLAS_STATUS_INVALID_VALUE,
                "the auxiliary matrix is not aligned to 16 bytes");
  refuse_unless(description.aux_leading % 8 == 0 && description.aux_leading >= static_cast<std::int64_t>(problem.m),
                CUBLAS_STATUS_INVALID_VALUE,
                "the auxiliary matrix's leading dimension " + std::to_string(description.aux_leading) +
                    " is not a multiple of 8 of at least " + std::to_string(problem.m));
  refuse_unless(description.aux_batch_stride % 8 == 0, CUBLAS_STATUS_INVALID_VALUE,
                "the auxiliary matrix's batch stride is not a multiple of 8");
  refuse_unless(description.aux_type == -1 || description.aux_type == problem.d.type, CUBLAS_STATUS_NOT_SUPPORTED,
                std::string("an auxiliary matrix in ") + name_of(description.aux_type) + " where D is in " +
                    name_of(problem.d.type));
}

}  // namespace

Problem problem_of(const Description& description, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  Problem problem{description, a, b, c, d};
  check_layout("A", a);
  check_layout("B", b);
  check_layout("C", c);
  check_layout("D", d);
  check_types(problem);
  check_shapes(problem);
  refuse_unless(description.pointer_mode == CUBLASLT_POINTER_MODE_HOST, CUBLAS_STATUS_NOT_SUPPORTED,
                "alpha and beta on the device are not implemented");
  check_epilogue(problem);
  return problem;
}

}  // namespace trireme::gpu::cublaslt
