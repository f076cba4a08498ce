#include "trainer/loop/validate.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace trireme {
namespace {

// One window's loss and tokens, as it travels between ranks.
struct WindowLoss {
  float sum;
  float tokens;
};

}  // namespace

ValidationWindows windows_of(const ValidationBatches& batches) {
  return {.count = batches.windows(), .build = [&batches](SampleRange range) { return batches.build(range); }};
}

ValidationLoss validate(Context& context, Communicator& dp, const ValidationWindows& windows,
                        const SampleLosses& losses_of, std::int64_t max_samples, std::int64_t micro_batch,
                        std::int64_t for_step) {
  const std::int64_t count = max_samples > 0 ? std::min(max_samples, windows.count) : windows.count;
  const SampleRange mine = part_of(SampleRange{0, count}, dp.rank(), dp.size());

  // Equally many passes on all ranks, which may meet in each to gather parameters; the last may be of no windows.
  const std::int64_t most = (count + dp.size() - 1) / dp.size();
  std::vector<WindowLoss> losses;
  for (std::int64_t passed = 0; passed < most; passed += micro_batch) {
    const std::int64_t begin = std::min(mine.begin + passed, mine.end);
    const Batch batch = windows.build({begin, std::min(begin + micro_batch, mine.end)});
    std::vector<float> sums(static_cast<std::size_t>(batch.samples));
    const ArenaTensor on_device = losses_of(batch);
    context.device->download(context.compute, sums.data(), on_device);
    context.device->synchronize(context.compute);
    for (std::int64_t s = 0; s < batch.samples; ++s) {
      const auto first = batch.loss_mask.begin() + s * batch.sequence_length;
      losses.push_back({sums[static_cast<std::size_t>(s)],
                        static_cast<float>(std::count(first, first + batch.sequence_length, 1.0f))});
    }
  }

  const std::string_view message(reinterpret_cast<const char*>(losses.data()), losses.size() * sizeof(WindowLoss));
  ValidationLoss total{.whole = count == windows.count};
  for (const std::string& part : dp.gather_to_all(message, {for_step, "validation losses"}))
    for (std::size_t at = 0; at < part.size(); at += sizeof(WindowLoss)) {
      WindowLoss window;
      std::memcpy(&window, part.data() + at, sizeof(window));
      total.sum += window.sum;
      total.tokens += window.tokens;
    }
  return total;
}

}  // namespace trireme
