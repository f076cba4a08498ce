#include "cuda/back_end.h"

#include <dlfcn.h>

#include "cuda/device/entry.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

// Fills `unavailable` if the object or what it links is not there.
CudaBackEnd open_cuda(int local_rank, int local_ranks) {
  CudaBackEnd cuda;
  void* object = dlopen(kCudaObject, RTLD_NOW | RTLD_LOCAL);  // never closed
  if (object == nullptr) {
    cuda.unavailable = std::string("the CUDA back end cannot be opened: ") + dlerror();
    return cuda;
  }
  const auto open = reinterpret_cast<OpenCuda>(dlsym(object, kOpenCuda));
  if (open == nullptr) throw UserError(std::string(kCudaObject) + " is not Trireme's: build it again");
  open(local_rank, local_ranks, &cuda);
  return cuda;
}

BackEnd open_host(const HostOptions& options, const std::string& why) {
  return {.device = make_host_device(options),
          .kernels = &host_kernels(),
          .description = "host: " + host_description() + (why.empty() ? "" : " (no GPU: " + why + ")"),
          .is_cuda = false};
}

}  // namespace

BackEnd open_back_end(BackEndChoice choice, const HostOptions& host, int local_rank, int local_ranks) {
  CHECK(0 <= local_rank && local_rank < local_ranks, "local rank ", local_rank, " of ", local_ranks);
  if (choice == BackEndChoice::kHost) return open_host(host, "");
  CudaBackEnd cuda = open_cuda(local_rank, local_ranks);
  if (cuda.device != nullptr)
    return {.device = std::unique_ptr<Device>(cuda.device),
            .kernels = cuda.kernels,
            .description = "cuda: " + cuda.description,
            .is_cuda = true};
  if (choice == BackEndChoice::kCuda)
    throw UserError("device: cuda, but " + cuda.unavailable + "; or set device: host, or auto to take what there is");
  return open_host(host, cuda.unavailable);
}

}  // namespace trireme
