#include "tests/gpu/cublaslt/descriptors.h"

#include <cstring>

namespace trireme::gpu::cublaslt {
namespace {

template <class T>
Field of(T& member) {
  return {&member, sizeof member};
}

[[noreturn]] void unknown(const char* descriptor, int attribute) {
  throw Status(CUBLAS_STATUS_NOT_SUPPORTED, "attribute " + std::to_string(attribute) + " of " + descriptor +
                                                " is not implemented; see tests/gpu/cublaslt/descriptors.cc");
}

}  // namespace

Field field(Layout& layout, cublasLtMatrixLayoutAttribute_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return of(layout.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return of(layout.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return of(layout.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return of(layout.columns);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return of(layout.leading);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return of(layout.batches);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return of(layout.batch_stride);
    default:
      unknown("a matrix layout", attribute);
  }
}

Field field(Description& description, cublasLtMatmulDescAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return of(description.compute_type);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return of(description.scale_type);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return of(description.pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return of(description.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return of(description.transpose_b);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return of(description.transpose_c);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return of(description.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return of(description.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return of(description.bias_batch_stride);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return of(description.bias_type);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return of(description.aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return of(description.aux_leading);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
      return of(description.aux_batch_stride);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return of(description.aux_type);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
      return of(description.multiprocessors);
    default:
      unknown("a product's description", attribute);
  }
}

Field field(Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
      return of(preference.search_mode);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return of(preference.workspace_bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return of(preference.reductions);
    case CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT:
      return of(preference.most_waves);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return of(preference.alignment[0]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return of(preference.alignment[1]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return of(preference.alignment[2]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return of(preference.alignment[3]);
    default:
      unknown("a preference", attribute);
  }
}

void set(const Field& field, const void* value, std::size_t bytes) {
  if (value == nullptr || bytes != field.size)
    throw Status(CUBLAS_STATUS_INVALID_VALUE, "the attribute has " + std::to_string(field.size) + " bytes, " +
                                                  std::to_string(bytes) + " were given");
  std::memcpy(field.bytes, value, bytes);
}

void get(const Field& field, void* value, std::size_t bytes, std::size_t* written) {
  if (bytes == 0 && written == nullptr) throw Status(CUBLAS_STATUS_INVALID_VALUE, "nowhere to write the size");
  if (written != nullptr) *written = field.size;
  if (bytes == 0) return;
  if (value == nullptr || bytes != field.size)
    throw Status(CUBLAS_STATUS_INVALID_VALUE, "the attribute has " + std::to_string(field.size) + " bytes");
  std::memcpy(value, field.bytes, bytes);
}

std::size_t bytes_of(std::int32_t type) {
  return type == CUDA_R_32F ? 4 : type == CUDA_R_16F || type == CUDA_R_16BF ? 2 : 0;
}

const char* name_of(std::int32_t type) {
  return type == CUDA_R_32F ? "fp32" : type == CUDA_R_16F ? "fp16" : type == CUDA_R_16BF ? "bf16" : "another type";
}

}  // namespace trireme::gpu::cublaslt
