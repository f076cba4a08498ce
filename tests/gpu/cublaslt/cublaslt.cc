// cuBLASLt's C functions. What they do stands in descriptors.h, problem.h and matmul.h.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <utility>

#include <cublasLt.h>

#include "tests/gpu/cublaslt/matmul.h"

namespace {

using namespace trireme::gpu::cublaslt;
using trireme::gpu::Gpu;
using trireme::gpu::Operation;
using trireme::gpu::Progress;
using trireme::gpu::Refusal;
using trireme::gpu::say;

constexpr std::uint64_t kAlignmentOfWorkspace = 16;
constexpr std::uint64_t kWorkspaceBytes = 4096;  // that the one algorithm takes, where it may

template <class Body>
cublasStatus_t call(const char* function, const Body& body) {
  try {
    body();
    return CUBLAS_STATUS_SUCCESS;
  } catch (const Status& status) {
    say(std::string(function) + " refused with " + cublasLtGetStatusName(status.code) + ": " + status.what());
    return status.code;
  } catch (const Refusal& refusal) {
    say(std::string(function) + " refused: " + refusal.what());
    return CUBLAS_STATUS_INVALID_VALUE;
  } catch (const std::exception& error) {
    trireme::gpu::end_with_finding(std::string(function) + ": " + error.what());
  }
}

struct Handles {
  std::mutex mutex;
  std::set<cublasLtHandle_t> live;
  std::uintptr_t made = 0;
};
Handles& handles() {
  static auto* const all = new Handles;
  return *all;
}

std::string handles_left_behind() {
  const std::lock_guard lock(handles().mutex);
  const std::size_t count = handles().live.size();
  return count == 0 ? "" : std::to_string(count) + " cuBLASLt handle(s) were not destroyed";
}

void check(cublasLtHandle_t handle) {
  const std::lock_guard lock(handles().mutex);
  if (handles().live.count(handle) == 0) throw Status(CUBLAS_STATUS_NOT_INITIALIZED, "no handle of cublasLtCreate");
}

template <class Opaque, class Ours>
void create(Opaque** made, const Ours& ours) {
  auto* opaque = new Opaque{};
  inside<Ours>(opaque) = ours;
  *made = opaque;
}

template <class Opaque, class Ours>
void init(Opaque* opaque, std::size_t bytes, const Ours& ours) {
  if (bytes < sizeof(Ours)) throw Status(CUBLAS_STATUS_ALLOC_FAILED, "the given space is too small");
  inside<Ours>(opaque) = ours;
}

Layout layout_of(cudaDataType type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  Layout layout;
  layout.type = type;
  layout.rows = rows;
  layout.columns = columns;
  layout.leading = leading;
  return layout;
}

Description description_of(cublasComputeType_t compute_type, cudaDataType scale_type) {
  Description description;
  description.compute_type = compute_type;
  description.scale_type = scale_type;
  return description;
}

Problem problem_of(cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                   cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  return problem_of(inside<Description>(description), inside<Layout>(a), inside<Layout>(b), inside<Layout>(c),
                    inside<Layout>(d));
}

// The algorithm was chosen for pointers of some alignment, and writes a workspace of some size.
void check_algorithm(const Algorithm& algorithm, const void* const (&pointers)[4], std::size_t workspace_bytes) {
  if (algorithm.magic != Algorithm::kMagic)
    throw Status(CUBLAS_STATUS_INVALID_VALUE, "the algorithm did not come from cublasLtMatmulAlgoGetHeuristic");
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<std::uintptr_t>(pointers[i]) % algorithm.alignment[i] != 0)
      throw Status(CUBLAS_STATUS_NOT_SUPPORTED,
                   std::string("matrix ") + "ABCD"[i] + " is not aligned to the " +
                       std::to_string(algorithm.alignment[i]) +
                       " bytes that the algorithm was chosen for; say in the preference what is promised");
  if (workspace_bytes < algorithm.workspace_bytes)
    throw Status(CUBLAS_STATUS_INVALID_VALUE, "the algorithm needs a workspace of " +
                                                  std::to_string(algorithm.workspace_bytes) + " bytes, " +
                                                  std::to_string(workspace_bytes) + " were given");
}

}  // namespace

extern "C" {

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "an unknown status";
  }
}

const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }
std::size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return call(__func__, [&] {
    try {
      Gpu::of_process().ready();
    } catch (const Refusal& refusal) {
      throw Status(CUBLAS_STATUS_NOT_INITIALIZED, refusal.what());
    }
    const std::lock_guard lock(handles().mutex);
    if (handles().made == 0) trireme::gpu::look_for_leaks_too(handles_left_behind);
    *handle = reinterpret_cast<cublasLtHandle_t>(++handles().made);
    handles().live.insert(*handle);
  });
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return call(__func__, [&] {
    check(handle);
    const std::lock_guard lock(handles().mutex);
    handles().live.erase(handle);
  });
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t leading) {
  return call(__func__, [&] { create(made, layout_of(type, rows, columns, leading)); });
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, std::size_t bytes, cudaDataType type,
                                                 std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  return call(__func__, [&] { init(layout, bytes, layout_of(type, rows, columns, leading)); });
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                std::size_t bytes) {
  return call(__func__, [&] { set(field(inside<Layout>(layout), attribute), value, bytes); });
}

cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, void* value,
                                                std::size_t bytes, std::size_t* written) {
  return call(__func__, [&] { get(field(inside<Layout>(layout), attribute), value, bytes, written); });
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute_type,
                                        cudaDataType scale_type) {
  return call(__func__, [&] { create(made, description_of(compute_type, scale_type)); });
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t description, std::size_t bytes,
                                               cublasComputeType_t compute_type, cudaDataType scale_type) {
  return call(__func__, [&] { init(description, bytes, description_of(compute_type, scale_type)); });
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete description;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  return call(__func__, [&] { set(field(inside<Description>(description), attribute), value, bytes); });
}

cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, void* value, std::size_t bytes,
                                              std::size_t* written) {
  return call(__func__, [&] { get(field(inside<Description>(description), attribute), value, bytes, written); });
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
  return call(__func__, [&] { create(made, Preference{}); });
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference, std::size_t bytes) {
  return call(__func__, [&] { init(preference, bytes, Preference{}); });
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t bytes) {
  return call(__func__, [&] { set(field(inside<Preference>(preference), attribute), value, bytes); });
}

// One algorithm, which is not the one that the real library would choose.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int asked,
                                              cublasLtMatmulHeuristicResult_t* results, int* returned) {
  return call(__func__, [&] {
    check(handle);
    if (asked <= 0 || results == nullptr || returned == nullptr)
      throw Status(CUBLAS_STATUS_INVALID_VALUE, "no room for a result");
    *returned = 0;
    problem_of(description, a, b, c, d);
    const Preference& wanted = inside<Preference>(preference);
    Algorithm algorithm;
    algorithm.magic = Algorithm::kMagic;
    algorithm.workspace_bytes = std::min(wanted.workspace_bytes, kWorkspaceBytes);
    std::memcpy(algorithm.alignment, wanted.alignment, sizeof algorithm.alignment);
    results[0] = {};
    inside<Algorithm>(&results[0].algo) = algorithm;
    results[0].workspaceSize = algorithm.workspace_bytes;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    results[0].wavesCount = 1;
    *returned = 1;
  });
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                       cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  return call(__func__, [&] {
    check(handle);
    problem_of(description, a, b, c, d);
    if (result == nullptr || inside<Algorithm>(algorithm).magic != Algorithm::kMagic)
      throw Status(CUBLAS_STATUS_INVALID_VALUE, "the algorithm did not come from cublasLtMatmulAlgoGetHeuristic");
    *result = {};
    result->algo = *algorithm;
    result->workspaceSize = inside<Algorithm>(algorithm).workspace_bytes;
    result->state = CUBLAS_STATUS_SUCCESS;
    result->wavesCount = 1;
  });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream_handle) {
  return call(__func__, [&] {
    check(handle);
    Gpu& gpu = Gpu::of_process().ready();
    const Problem problem = problem_of(description, a_layout, b_layout, c_layout, d_layout);
    Operands operands;
    operands.a = static_cast<const std::byte*>(a);
    operands.b = static_cast<const std::byte*>(b);
    operands.c = static_cast<const std::byte*>(c);
    operands.d = static_cast<std::byte*>(d);
    std::memcpy(&operands.alpha, alpha, sizeof operands.alpha);
    std::memcpy(&operands.beta, beta, sizeof operands.beta);
    if (a == nullptr || b == nullptr || d == nullptr || (c == nullptr && operands.beta != 0))
      throw Status(CUBLAS_STATUS_INVALID_VALUE, "a matrix is a null pointer");
    for (const auto& [pointer, layout] : {std::pair(a, &problem.a), std::pair(b, &problem.b), std::pair(c, &problem.c),
                                          std::pair<const void*, const Layout*>(d, &problem.d)})
      if (reinterpret_cast<std::uintptr_t>(pointer) % bytes_of(layout->type) != 0)
        throw Status(CUBLAS_STATUS_INVALID_VALUE, "a matrix is not aligned to its elements");
    if (c == d && (problem.c.leading != problem.d.leading || problem.c.batch_stride != problem.d.batch_stride))
      throw Status(CUBLAS_STATUS_INVALID_VALUE, "C and D are one matrix, in two layouts");
    if (workspace_bytes > 0 && reinterpret_cast<std::uintptr_t>(workspace) % kAlignmentOfWorkspace != 0)
      throw Status(CUBLAS_STATUS_INVALID_VALUE, "the workspace is not aligned to 16 bytes");
    operands.workspace = static_cast<std::byte*>(workspace);
    operands.workspace_bytes = std::min<std::size_t>(workspace_bytes, kWorkspaceBytes);
    if (algorithm != nullptr) {
      const Algorithm& chosen = inside<Algorithm>(algorithm);
      check_algorithm(chosen, {a, b, c, d}, workspace_bytes);
      operands.workspace_bytes = chosen.workspace_bytes;
    }
    CUstream_st* stream = gpu.stream(stream_handle);
    trireme::gpu::Report::of_process().count("matmuls");
    gpu.streams.enqueue(stream,
                        "cublasLtMatmul [" + std::to_string(problem.m) + ", " + std::to_string(problem.k) + "] [" +
                            std::to_string(problem.k) + ", " + std::to_string(problem.n) + "] on stream " +
                            std::to_string(stream->id),
                        [&gpu, problem, operands](const Operation& operation) {
                          run(gpu, operation, problem, operands);
                          return Progress::kDone;
                        });
  });
}

}  // extern "C"
