// What the stand-in pretends to be, read from the environment once. A setting that cannot be read ends the process with
// exit code 2 and says what it may be: a test that imitates nothing by a misspelling would prove nothing.
//
//   TRIREME_GPU_SEED=N              order in which streams, blocks and warps run (1)
//   TRIREME_GPU_COUNT=N             devices of the machine (one for each local rank, at least 1; 0: none)
//   TRIREME_GPU_ARCH=80|90|100      compute capability: limits of threads and shared memory (90)
//   TRIREME_GPU_MEMORY=BYTES        of each device (8 GiB)
//   TRIREME_GPU_HELD=BYTES          of it held by another process (0)
//   TRIREME_GPU_DRIVER=VERSION      CUDA version of the driver, as 13000; below 13000 it is too old, 0: no driver
//   (13000) TRIREME_GPU_COMPUTE_MODE=default|exclusive|prohibited TRIREME_GPU_STICKY=CODE@N       the Nth launch of
//   this process fails with error CODE, and so does everything after it CUDA_VISIBLE_DEVICES            as CUDA
//   documents it
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace trireme::gpu {

enum class ComputeMode { kDefault, kExclusiveProcess, kProhibited };

struct Settings {
  std::uint64_t seed = 1;
  int devices = 1;
  int arch = 90;
  std::size_t memory_bytes = std::size_t{8} << 30;
  std::size_t held_bytes = 0;
  int driver_version = 13000;
  ComputeMode compute_mode = ComputeMode::kDefault;
  int sticky_code = 0;              // 0: none
  std::uint64_t sticky_launch = 0;  // counted from 1
  std::string visible;              // CUDA_VISIBLE_DEVICES
  bool visible_is_set = false;

  static const Settings& of_process();
};

}  // namespace trireme::gpu
