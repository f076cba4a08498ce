#include "trainer/verify/contributions.h"

#include <algorithm>
#include <cmath>

#include "cuda/host/host_device.h"
#include "parallel/comm/local.h"
#include "trainer/step/memory_plan.h"
#include "trainer/verify/trial_rank.h"

namespace trireme {
namespace {

// Of the tensor's largest contribution, what an element has at least. A token's loss may not depend on a parameter at
// all, as on the bias of keys, which softmax takes out; then its gradient is made of roundings of what the others have.
constexpr float kLeastShare = 1.0f / 16;

// Of Q's parameters the ones of K and V beside them; else the same.
std::string with_values(std::string name) {
  constexpr std::string_view kQ = ".attention.q.";
  if (const std::size_t q = name.find(kQ); q != std::string::npos) name.replace(q, kQ.size(), ".attention.kv.");
  return name;
}

// Adds |gradient| of the one token that counts in `batch`. With a learning rate of 0 the weights stay as they are.
void add_contribution(TrialRank& rank, TrainingStep& training, std::int64_t number, const Batch& batch,
                      WholeTensors& sums) {
  training.run(number, {&batch, 1}, 0);
  training.report();
  for (const HeldTensor& held : training.held_gradients()) {
    const std::vector<float> gradient = rank.read(held.tensor);
    std::vector<float>& sum = sums[held.spec->name];
    sum.resize(static_cast<std::size_t>(held.spec->shape.elements()));
    for_each_run(held.spec->shape, held.box, [&](BoxRun run) {
      for (std::int64_t i = 0; i < run.count; ++i)
        sum[static_cast<std::size_t>(run.global + i)] += std::abs(gradient[static_cast<std::size_t>(run.local + i)]);
    });
  }
}

}  // namespace

WholeTensors token_contributions(const Experiment& experiment, SampleRange samples) {
  Experiment alone = experiment;
  alone.numerics = config::fast;
  alone.train.set_global_batch(1);
  const BatchPlan one_sample;
  LocalGroup group(1);
  const std::unique_ptr<Device> device = make_host_device({.threads = 1});
  TrialRank rank(*device, group.join(0, *device), {}, plan_step(alone, {}, one_sample, 0).arena_bytes, {});
  TrainingStep training(rank.context(), alone, {}, rank.peers(), rank.streams(), nullptr);
  training.initialize();

  WholeTensors sums;
  std::int64_t counted = 0;
  for (std::int64_t sample = samples.begin; sample < samples.end; ++sample) {
    Batch batch = trial_batch(experiment.model, {sample, sample + 1});
    const std::vector<float> mask = batch.loss_mask;
    for (std::size_t token = 0; token < mask.size(); ++token) {
      if (mask[token] == 0) continue;
      batch.loss_mask.assign(mask.size(), 0);
      batch.loss_mask[token] = 1;
      add_contribution(rank, training, ++counted, batch, sums);
    }
  }
  for (auto& [name, values] : sums) {
    const std::vector<float>& largest = sums.at(with_values(name));
    const float least = *std::max_element(largest.begin(), largest.end()) * kLeastShare;
    for (float& value : values) value = std::max(value, least);
  }
  for (auto& [name, values] : sums)
    for (float& value : values) value /= static_cast<float>(counted);
  return sums;
}

}  // namespace trireme
