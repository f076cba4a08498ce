// cuBLASLt describes a product by descriptors that its user may put anywhere (they are opaque arrays of fixed size).
// Ours lie inside them: plain structs, each attribute a field of the size that the header gives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include <cublasLt.h>

namespace trireme::gpu::cublaslt {

// Thrown where cuBLASLt refuses.
struct Status : std::runtime_error {
  Status(cublasStatus_t status, const std::string& why) : std::runtime_error(why), code(status) {}
  cublasStatus_t code;
};

struct Layout {
  std::int32_t type = CUDA_R_32F;
  std::int32_t order = CUBLASLT_ORDER_COL;
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::int64_t leading = 0;  // elements from one column (row, in row order) to the next
  std::int32_t batches = 1;
  std::int64_t batch_stride = 0;  // elements
};

struct Description {
  std::int32_t compute_type = CUBLAS_COMPUTE_32F;
  std::int32_t scale_type = CUDA_R_32F;
  std::int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  std::int32_t transpose_a = CUBLAS_OP_N;
  std::int32_t transpose_b = CUBLAS_OP_N;
  std::int32_t transpose_c = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  std::int32_t multiprocessors = 0;
  void* bias = nullptr;
  std::int64_t bias_batch_stride = 0;
  void* aux = nullptr;
  std::int64_t aux_leading = 0;
  std::int64_t aux_batch_stride = 0;
  std::int32_t aux_type = -1;
  std::int32_t bias_type = -1;
};

struct Preference {
  std::uint32_t search_mode = 0;
  float most_waves = 0;
  std::uint64_t workspace_bytes = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D, bytes: 256 unless the user says less
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
};

// What cublasLtMatmulAlgoGetHeuristic returns: an algorithm relies on what it was chosen for.
struct Algorithm {
  std::uint64_t magic = 0;
  std::uint64_t workspace_bytes = 0;
  std::uint32_t alignment[4] = {};
  static constexpr std::uint64_t kMagic = 0x7472697265676d6d;
};

template <class Ours, class Theirs>
Ours& inside(Theirs* opaque) {
  static_assert(sizeof(Ours) <= sizeof(Theirs) && alignof(Ours) <= alignof(Theirs));
  if (opaque == nullptr) throw Status(CUBLAS_STATUS_INVALID_VALUE, "a descriptor is null");
  return *reinterpret_cast<Ours*>(opaque);
}
template <class Ours, class Theirs>
const Ours& inside(const Theirs* opaque) {
  return inside<const Ours>(const_cast<Theirs*>(opaque));
}

struct Field {
  void* bytes = nullptr;
  std::size_t size = 0;
};
Field field(Layout& layout, cublasLtMatrixLayoutAttribute_t attribute);  // throws Status where it is not implemented
Field field(Description& description, cublasLtMatmulDescAttributes_t attribute);
Field field(Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute);

// As the header says of the setters and getters.
void set(const Field& field, const void* value, std::size_t bytes);
void get(const Field& field, void* value, std::size_t bytes, std::size_t* written);

std::size_t bytes_of(std::int32_t type);  // of an element; 0: not one of fp32, fp16, bf16
const char* name_of(std::int32_t type);

}  // namespace trireme::gpu::cublaslt
