#include <algorithm>
#include <bit>
#include <string>

#include "cuda/device/error.cuh"
#include "cuda/device/gemm.cuh"
#include "cuda/device/scratch.h"
#include "monitoring/error.h"

namespace trireme::cuda {
namespace {

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kBF16:
      return CUDA_R_16BF;
    case DType::kF16:
      return CUDA_R_16F;
    default:
      CHECK(false, "a product of ", name_of(dtype));
  }
}

// The power of two that divides x, at most `most`.
std::uint32_t alignment_of(std::uint64_t x, std::uint64_t most) {
  return static_cast<std::uint32_t>(x == 0 ? most : std::min(most, std::uint64_t{1} << std::countr_zero(x)));
}
std::uint32_t alignment_of(const void* address) { return alignment_of(reinterpret_cast<std::uintptr_t>(address), 256); }

// Rows (columns in cuBLAS' terms) begin on multiples of the pitch from an aligned start: what follows from shape alone.
std::uint32_t alignment_of_pitch(std::int64_t elements, DType dtype) {
  return alignment_of(static_cast<std::uint64_t>(elements) * bytes_of(dtype), 16);
}

template <class Value>
void set(cublasLtMatmulDesc_t call, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulDescSetAttribute(call, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}
template <class Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

cublasLtMatrixLayout_t layout(DType dtype, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, type_of(dtype), static_cast<std::uint64_t>(rows),
                                   static_cast<std::uint64_t>(columns), rows),
        "cublasLtMatrixLayoutCreate");
  return made;
}

std::string shape_of(const Gemm& gemm) {
  return std::string(name_of(gemm.operands)) + " product m=" + std::to_string(gemm.m) + " n=" + std::to_string(gemm.n) +
         " k=" + std::to_string(gemm.k) + " to " + name_of(gemm.result);
}

}  // namespace

Gemms::Gemms() { check(cublasLtCreate(&library_), "cublasLtCreate"); }

Gemms::~Gemms() {
  for (auto& [key, plan] : plans_) destroy(plan);
  static_cast<void>(cublasLtDestroy(library_));
}

void Gemms::destroy(Plan& plan) {
  for (cublasLtMatrixLayout_t each : {plan.a, plan.b, plan.d})
    if (each != nullptr) static_cast<void>(cublasLtMatrixLayoutDestroy(each));
  if (plan.call != nullptr) static_cast<void>(cublasLtMatmulDescDestroy(plan.call));
  plan = {};
}

void Gemms::describe(Plan& plan, const Gemm& gemm) const {
  check(cublasLtMatmulDescCreate(&plan.call, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  set(plan.call, CUBLASLT_MATMUL_DESC_TRANSA, gemm.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.call, CUBLASLT_MATMUL_DESC_TRANSB, gemm.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (gemm.biased) set(plan.call, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  plan.a = gemm.transpose_a ? layout(gemm.operands, gemm.k, gemm.m) : layout(gemm.operands, gemm.m, gemm.k);
  plan.b = gemm.transpose_b ? layout(gemm.operands, gemm.n, gemm.k) : layout(gemm.operands, gemm.k, gemm.n);
  plan.d = layout(gemm.result, gemm.m, gemm.n);
}

void Gemms::choose(Plan& plan, const Gemm& gemm, const Alignment& alignment) const {
  const bool exact = gemm.order == Order::kExact;
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, exact ? std::size_t{0} : kWorkspaceBytes);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment.a);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment.b);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment.c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment.d);
  if (exact)
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(library_, plan.call, plan.a, plan.b, plan.d, plan.d,
                                                               preference, 1, &found, &count);
  static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0))
    throw UserError("cuBLASLt has no algorithm for a " + shape_of(gemm) + (exact ? " without split K" : "") +
                    ": use sizes that are multiples of 8" + (exact ? ", or numerics: fast" : ""));
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  plan.algorithm = found.algo;
  plan.workspace_bytes = found.workspaceSize;
}

Gemms::Plan& Gemms::plan(const Gemm& gemm, const Alignment& alignment, const void* bias) {
  const Key key(gemm.m, gemm.n, gemm.k, gemm.transpose_a, gemm.transpose_b, gemm.operands, gemm.result, gemm.joined,
                gemm.biased, gemm.order, alignment);
  Plan& plan = plans_[key];
  if (plan.call != nullptr) return plan;
  try {
    describe(plan, gemm);
    if (gemm.biased) set(plan.call, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);  // the heuristic asks for one
    Gemm canonical = gemm;
    (gemm.rows == Gemm::Rows::kN ? canonical.n : canonical.k) = kExactRows;
    if (gemm.order == Order::kFast || (gemm.n == canonical.n && gemm.k == canonical.k)) {
      choose(plan, gemm, alignment);
    } else {
      plan.algorithm = this->plan(canonical, alignment, bias).algorithm;
      cublasLtMatmulHeuristicResult_t checked{};
      check(cublasLtMatmulAlgoCheck(library_, plan.call, plan.a, plan.b, plan.d, plan.d, &plan.algorithm, &checked),
            "cublasLtMatmulAlgoCheck");
    }
  } catch (...) {
    destroy(plan);
    plans_.erase(key);
    throw;
  }
  return plan;
}

void Gemms::run(Stream stream, const Gemm& gemm, const GemmOperands& at) {
  const void* c = gemm.joined ? at.c : at.d;  // not read unless joined
  Alignment alignment{alignment_of(at.a), alignment_of(at.b), alignment_of(c), alignment_of(at.d)};
  if (gemm.order == Order::kExact) {
    const auto capped = [](std::uint32_t by_shape, std::uint32_t here) { return std::min(by_shape, here); };
    alignment.a = capped(alignment_of_pitch(gemm.transpose_a ? gemm.k : gemm.m, gemm.operands), alignment.a);
    alignment.b = capped(alignment_of_pitch(gemm.transpose_b ? gemm.n : gemm.k, gemm.operands), alignment.b);
    alignment.c = capped(alignment_of_pitch(gemm.m, gemm.result), alignment.c);
    alignment.d = capped(alignment_of_pitch(gemm.m, gemm.result), alignment.d);
  }
  Plan& plan = this->plan(gemm, alignment, at.bias);
  if (gemm.biased) set(plan.call, CUBLASLT_MATMUL_DESC_BIAS_POINTER, at.bias);
  const float one = 1, beta = gemm.joined ? 1 : 0;
  std::byte* workspace = plan.workspace_bytes > 0 ? scratch(stream, kWorkspaceBytes) : nullptr;
  check(cublasLtMatmul(library_, plan.call, &one, at.a, plan.a, at.b, plan.b, &beta, c, plan.d, at.d, plan.d,
                       &plan.algorithm, workspace, plan.workspace_bytes, static_cast<cudaStream_t>(stream.handle)),
        "cublasLtMatmul");
}

}  // namespace trireme::cuda
