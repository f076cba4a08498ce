#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string>

#include <cuda_runtime.h>

#include "cuda/device/device.h"
#include "cuda/device/entry.h"
#include "cuda/device/error.cuh"
#include "monitoring/error.h"

namespace trireme::cuda {
namespace {

// 13000: "13.0"
std::string version_name(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// " (CUDA_VISIBLE_DEVICES=0,1)", or nothing.
std::string visible_devices() {
  const char* given = std::getenv("CUDA_VISIBLE_DEVICES");
  return given == nullptr ? "" : std::string(" (CUDA_VISIBLE_DEVICES=") + given + ")";
}

// How many GPUs the variable names; -1 if it is not set.
int devices_named() {
  const char* given = std::getenv("CUDA_VISIBLE_DEVICES");
  if (given == nullptr) return -1;
  const std::string list(given);
  return list.empty() ? 0 : static_cast<int>(std::count(list.begin(), list.end(), ',')) + 1;
}

// GPUs that this process may use; 0 and a reason if there are none.
int count_devices(std::string& unavailable) {
  int driver = 0, runtime = 0;
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    unavailable = "this machine has no NVIDIA driver";
    return 0;
  }
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    unavailable = "the NVIDIA driver supports CUDA " + version_name(driver) + " and this build needs " +
                  version_name(runtime) + ": install driver 580 or newer";
    return 0;
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    unavailable = devices_named() >= 0 ? "CUDA shows no GPU" + visible_devices() +
                                             ": unset CUDA_VISIBLE_DEVICES, or name GPUs that nvidia-smi -L lists"
                                       : "this machine has an NVIDIA driver, but no GPU that it can use (nvidia-smi)";
    return 0;
  }
  check(status, "cudaGetDeviceCount");
  return count;
}

void check_share(int count, int local_ranks) {
  const int named = devices_named();
  if (named > count)
    throw UserError("CUDA_VISIBLE_DEVICES=" + std::string(std::getenv("CUDA_VISIBLE_DEVICES")) + " names " +
                    std::to_string(named) + " GPUs and CUDA shows " + std::to_string(count) +
                    ": name each GPU once, as nvidia-smi -L lists them");
  if (local_ranks > count)
    throw UserError(
        "this host has " + std::to_string(local_ranks) + " ranks and CUDA shows each " + std::to_string(count) +
        (count == 1 ? " GPU" : " GPUs") + visible_devices() +
        ", so that two ranks would share one: start at most one rank a GPU, and show all of the host's GPUs "
        "to every rank, of which each takes the one of its local rank");
}

void check_capability(const cudaDeviceProp& gpu) {
  if (gpu.major < 8)
    throw UserError(std::string(gpu.name) + " has compute capability " + std::to_string(gpu.major) + "." +
                    std::to_string(gpu.minor) + ", and 8.0 (A100) or newer is needed: set device: host");
}

}  // namespace
}  // namespace trireme::cuda

extern "C" __attribute__((visibility("default"))) void trireme_open_cuda(int local_rank, int local_ranks,
                                                                         trireme::CudaBackEnd* back_end) {
  using namespace trireme;
  if (back_end->kernels_bytes != sizeof(Kernels))
    throw UserError(std::string(kCudaObject) + " was built from other sources than this program: build both again");
  const int count = cuda::count_devices(back_end->unavailable);
  if (count == 0) return;
  cuda::check_share(count, local_ranks);
  cudaDeviceProp gpu;
  cuda::check(cudaGetDeviceProperties(&gpu, local_rank), "cudaGetDeviceProperties");
  cuda::check_capability(gpu);
  int driver = 0, runtime = 0;
  cuda::check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  cuda::check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  back_end->description = std::string(gpu.name) + ", sm_" + std::to_string(gpu.major) + std::to_string(gpu.minor) +
                          ", " + std::to_string(gpu.totalGlobalMem / 1'000'000'000) + " GB, GPU " +
                          std::to_string(local_rank) + " of " + std::to_string(count) + ", CUDA " +
                          cuda::version_name(runtime) + ", driver for " + cuda::version_name(driver);
  back_end->kernels = &device_kernels();
  back_end->device = make_cuda_device(local_rank).release();
}
