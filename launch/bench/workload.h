// Steps can only be compared when they are of the same size. These are GPT-2s on random tokens, so that nothing has to
// be prepared and any other trainer can be given the same work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/batch/batch.h"
#include "dataloader/batch/plan.h"
#include "trainer/step/training_step.h"

namespace trireme {

struct Workload {
  static constexpr int kHeadSize = 64;

  std::string name;
  int layers = 0;
  int hidden_size = 0;  // a multiple of kHeadSize
  int sequence_length = 0;
  int vocabulary = 0;
  int batch = 0;  // samples of a step, all in one micro-batch

  int heads() const { return hidden_size / kHeadSize; }
  std::int64_t tokens() const { return std::int64_t{batch} * sequence_length; }  // of a step
};

// "tiny", "small" (GPT-2 124M), or LxCxTxVxB: layers, hidden size, sequence length, vocabulary, batch, as in
// 2x128x64x512x4. Throws UserError for anything else.
Workload workload_named(const std::string& text);

Experiment experiment_of(const Workload& workload, config::Precision precision);
Batch random_batch(const Workload& workload, std::uint64_t seed);
// That batch, as the plan's rank takes it.
std::vector<Batch> random_micro_batches(const Workload& workload, std::uint64_t seed, const BatchPlan& plan);

}  // namespace trireme
