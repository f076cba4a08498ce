// The GPU of this process: everything that the C libraries (cudart, NCCL, cuBLASLt) are thin covers of, in one place.
// Made at the first call that needs it and never taken apart; what was left behind is said when the process ends
// (leaks.cc), and a host access to device memory when it happens.
#pragma once

#include <functional>
#include <string>

#include <driver_types.h>

#include "tests/gpu/memory/global_memory.h"
#include "tests/gpu/runtime/devices.h"
#include "tests/gpu/runtime/finding.h"
#include "tests/gpu/runtime/memory.h"
#include "tests/gpu/runtime/modules.h"
#include "tests/gpu/runtime/report.h"
#include "tests/gpu/runtime/settings.h"
#include "tests/gpu/runtime/streams.h"

namespace trireme::gpu {

class Gpu {
 public:
  static Gpu& of_process();  // throws nothing: also where there is no device
  static Gpu* of_process_if_made();

  // Of the calling thread, as cudaSetDevice left it. `ready` takes the device and throws Refusal where that fails.
  static int& current_device();
  Gpu& ready();

  const Settings& settings;
  Devices devices;
  GlobalMemory global;
  Streams streams;
  Memory memory;

  CUstream_st* stream(cudaStream_t handle) { return streams.find(handle, current_device()); }

  // Counts a launch; throws what TRIREME_GPU_STICKY asks for when its turn has come, and from then on always.
  void count_launch();
  void fail_if_broken() const;

 private:
  Gpu();
};

constexpr int kInHostFunction = -1;  // the current device of the thread that runs host functions

// The body of a C function of cudart's: hands it the GPU, and makes an error code, the thread's last error and one line
// of explanation of what it refuses.
cudaError_t call(const char* function, const std::function<void(Gpu&)>& body);
cudaError_t call_without_device(const char* function, const std::function<void(Gpu&)>& body);
cudaError_t last_error(bool clear);

// Host functions run on a thread of their own, one at a time, as the driver runs them; CUDA calls from there are
// refused.
Work host_function(std::function<void()> function);

// Registered when the process's GPU is made (leaks.cc).
void watch_end_of_process();
void watch_host_accesses();

// `left_behind` is asked at the process's end, and answers "" or what to say.
void look_for_leaks_too(std::string (*left_behind)());

}  // namespace trireme::gpu
