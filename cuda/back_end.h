// One program runs on machines with and without GPUs. What CUDA brings is a shared object beside the program, opened
// here at run time; the program itself links nothing of CUDA, and where the object, the driver or the GPU is missing
// the host takes over. After this nobody asks which back end it is but for the log.
//
// The ranks of a host call with the same `local_ranks` and so come to the same decision.
#pragma once

#include <memory>
#include <string>

#include "cuda/core/device.h"
#include "cuda/host/host_device.h"
#include "cuda/ops/kernels.h"

namespace trireme {

enum class BackEndChoice { kAuto, kHost, kCuda };

struct BackEnd {
  std::unique_ptr<Device> device{};
  const Kernels* kernels = nullptr;
  // For the log, one line: "host: AVX3_ZEN4, oneDNN 2.6.3 (no GPU: this machine has no NVIDIA driver)", "cuda: NVIDIA
  // H100 80GB HBM3, ...".
  std::string description{};
  bool is_cuda = false;
};

// kAuto takes the GPU if there is one and else the host, and says why in `description`. Throws UserError, in one
// sentence that says what to do: kCuda without a GPU; a GPU that is there but taken, too old, or shared by two ranks,
// whatever the choice but kHost.
// `local_rank` of `local_ranks` is this process' number on its host: it takes the GPU of that number.
BackEnd open_back_end(BackEndChoice choice, const HostOptions& host, int local_rank, int local_ranks);

}  // namespace trireme
