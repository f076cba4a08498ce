#include "trainer/loop/gemm_peak.h"

#include <algorithm>
#include <chrono>

namespace trireme {

double measure_gemm_peak(Context& context, DType dtype, std::int64_t size) {
  constexpr int kRuns = 8;  // the first ones build the library's kernels and touch the memory
  using Clock = std::chrono::steady_clock;
  const auto elements = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  const std::size_t bytes = elements * bytes_of(dtype);
  std::byte* memory = context.device->allocate(3 * bytes);
  const Tensor x{memory, dtype, {size, size}};
  const Tensor w{memory + bytes, dtype, {size, size}};
  const Tensor y{memory + 2 * bytes, dtype, {size, size}};
  context.ops->fill(context.compute, x, 0.5f);
  context.ops->fill(context.compute, w, 0.25f);
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    context.device->synchronize(context.compute);
    const auto begin = Clock::now();
    context.ops->linear_forward(context.compute, y, x, w, {}, {}, Order::kFast);
    context.device->synchronize(context.compute);
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, 2 * static_cast<double>(elements) * static_cast<double>(size) / seconds);
  }
  context.device->release(memory);
  return best;
}

}  // namespace trireme
