// How long the GPU takes for something, by events on its stream: not how long the host takes to ask for it. What a
// caller of a training step finds in the L2 cache is not what the last repetition left there, so before each repetition
// memory is written that pushes everything else out; while the GPU does that, the host has time to enqueue what is
// timed, so that no gap of the host's is counted.
#pragma once

#include <functional>

#include <cuda_runtime.h>

#include "cuda/core/device.h"

namespace trireme::alone {

// Throws std::runtime_error: which call failed, and CUDA's words for it.
void check(cudaError_t status, const char* call);

struct Times {
  double median = 0, fastest = 0, slowest = 0;  // seconds
};

class Timing {
 public:
  // Repetitions: at least one. `flushed_bytes`: at least twice the L2 cache.
  Timing(Device& device, Stream stream, int repetitions, std::size_t flushed_bytes);
  ~Timing();
  Timing(const Timing&) = delete;
  Timing& operator=(const Timing&) = delete;

  Times of(const std::function<void(Stream)>& work) const;
  int repetitions() const { return repetitions_; }

 private:
  static constexpr int kWarmUps = 3;  // the first ones load kernels and choose algorithms

  Device& device_;
  const Stream stream_;
  const int repetitions_;
  const std::size_t flushed_bytes_;
  std::byte* flushed_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace trireme::alone
