#include <algorithm>
#include <string>

#include "cuda/device/error.cuh"
#include "monitoring/error.h"

namespace trireme::cuda {
namespace {

std::string gigabytes(std::size_t bytes) {
  const std::string tenths = std::to_string((bytes + 50'000'000) / 100'000'000);
  return (tenths.size() < 2 ? "0" : tenths.substr(0, tenths.size() - 1)) + "." + tenths.back() + " GB";
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  const std::string said =
      std::string(call) + ": " + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
  if (status == cudaErrorMemoryAllocation)
    throw UserError("the GPU is out of memory in " + said +
                    ": use a smaller micro-batch, recompute more, or more ranks");
  throw PeerError("the GPU failed in " + said +
                  ": see dmesg for Xid messages; if it happens again, leave this GPU out and report the call");
}

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw PeerError(std::string("cuBLASLt failed in ") + call + ": " + cublasLtGetStatusName(status) + " (" +
                  cublasLtGetStatusString(status) + ")");
}

std::byte* allocate(std::size_t bytes, std::size_t held) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status != cudaErrorMemoryAllocation) {
    check(status, "cudaMalloc");
    return static_cast<std::byte*>(memory);
  }
  static_cast<void>(cudaGetLastError());  // the failure is dealt with here
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const std::size_t others = total - std::min(total, free + held);
  throw UserError("the GPU has " + gigabytes(free) + " free of " + gigabytes(total) + ", and " + gigabytes(bytes) +
                  " were asked for; this process holds " + gigabytes(held) + " and others hold " + gigabytes(others) +
                  " (nvidia-smi names them): end them, or use a smaller micro-batch, more recomputation or more ranks");
}

}  // namespace trireme::cuda
