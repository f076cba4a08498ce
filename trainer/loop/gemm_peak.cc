#include "trainer/loop/gemm_peak.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "cuda/core/device_memory.h"

namespace trireme {
namespace {

// Of [size, size] matrices, the quickest run of some.
double fastest_seconds(Context& context, DType dtype, std::int64_t size) {
  constexpr int kRuns = 8;  // the first ones build the library's kernels and touch the memory
  constexpr double kEnoughSeconds = 0.15;
  using Clock = std::chrono::steady_clock;
  const std::size_t bytes = static_cast<std::size_t>(size * size) * bytes_of(dtype);
  const DeviceMemory memory(*context.device, 3 * bytes);
  const Tensor x{memory.begin(), dtype, {size, size}};
  const Tensor w{memory.begin() + bytes, dtype, {size, size}};
  const Tensor y{memory.begin() + 2 * bytes, dtype, {size, size}};
  context.ops->fill(context.compute, x, 0.5f);
  context.ops->fill(context.compute, w, 0.25f);
  double best = std::numeric_limits<double>::infinity();
  double spent = 0;
  for (int run = 0; run < kRuns && spent < kEnoughSeconds; ++run) {
    context.device->synchronize(context.compute);
    const auto begin = Clock::now();
    context.ops->linear_forward(context.compute, y, x, w, {}, {}, Order::kFast);
    context.device->synchronize(context.compute);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

}  // namespace

double measure_gemm_peak(Context& context, DType dtype) {
  constexpr std::int64_t kSmallest = 256, kLargest = 8192;
  constexpr double kBusySeconds = 1e-2;
  double best = 0;
  for (std::int64_t size = kSmallest; size <= kLargest; size *= 2) {
    const double seconds = fastest_seconds(context, dtype, size);
    const auto n = static_cast<double>(size);
    best = std::max(best, 2 * n * n * n / seconds);
    if (seconds >= kBusySeconds) break;
  }
  return best;
}

}  // namespace trireme
