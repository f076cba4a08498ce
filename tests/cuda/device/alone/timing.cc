#include "tests/cuda/device/alone/timing.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace trireme::alone {

void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
}

Timing::Timing(Device& device, Stream stream, int repetitions, std::size_t flushed_bytes)
    : device_(device), stream_(stream), repetitions_(std::max(repetitions, 1)), flushed_bytes_(flushed_bytes) {
  check(cudaEventCreate(&begin_), "cudaEventCreate");
  check(cudaEventCreate(&end_), "cudaEventCreate");
  flushed_ = device_.allocate(flushed_bytes_);
}

Timing::~Timing() {
  device_.release(flushed_);
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
}

Times Timing::of(const std::function<void(Stream)>& work) const {
  const auto stream = static_cast<cudaStream_t>(stream_.handle);
  std::vector<double> seconds;
  for (int i = -kWarmUps; i < repetitions_; ++i) {
    check(cudaMemsetAsync(flushed_, 0, flushed_bytes_, stream), "cudaMemsetAsync");
    check(cudaEventRecord(begin_, stream), "cudaEventRecord");
    work(stream_);
    check(cudaEventRecord(end_, stream), "cudaEventRecord");
    check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    if (i >= 0) seconds.push_back(1e-3 * static_cast<double>(milliseconds));
  }
  std::sort(seconds.begin(), seconds.end());
  return {.median = seconds[seconds.size() / 2], .fastest = seconds.front(), .slowest = seconds.back()};
}

}  // namespace trireme::alone
