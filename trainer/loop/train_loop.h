// A run from its first step, or from where the last attempt got to, until its budget is spent or it is told to stop.
// What happens between two steps happens in one order on all ranks: they agree on it by one small message a step.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "dataloader/batch/plan.h"
#include "dataloader/shard/dataset.h"
#include "monitoring/metrics.h"
#include "monitoring/trace.h"
#include "parallel/comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/step/training_step.h"
#include "trainer/train.pb.h"

namespace trireme {

struct TrainRun {
  Experiment experiment;
  Layout layout;
  std::filesystem::path dir;  // RUN, which exists
  std::int64_t steps = 0;
  BatchPlan batches;  // this rank's
  AttentionScope attention = AttentionScope::kDocument;
  config::Checkpoint checkpoint;
  config::Validation validation;
  int attempt = 1;
  std::string experiment_text;  // CheckpointState::experiment
  std::string config_json;
  std::string tokenizer_json;
  std::filesystem::path weights_from;  // a Hugging Face directory whose weights to begin with; empty: initialise
  std::int64_t trace_steps = 0;        // the first so many steps of this attempt are written as a trace
  double peak_flops = 0;               // of all ranks together, for the share of peak; 0: not measured
};

// Everything outlives the call. `stop` becomes nonzero when a signal asks for the end.
struct TrainEnvironment {
  Context& context;
  const MeshCommunicators& peers;
  StepStreams streams;
  const Dataset& dataset;
  MetricsRegistry& metrics;
  Trace& trace;
  const std::atomic<int>& stop;
  RunObserver* observer = nullptr;
};

struct TrainOutcome {
  std::int64_t step = 0;  // steps done, in all attempts
  bool stopped = false;   // by a signal
  bool saved = true;      // a checkpoint of that step is committed
  double validation_loss = 0;
};

TrainOutcome train(TrainEnvironment environment, const TrainRun& run);

// CheckpointState::params of this rank, and CheckpointState::specs.
std::vector<CheckpointParam> checkpoint_params(TrainingStep& training);
std::vector<const ParamSpec*> checkpoint_specs(const TrainingStep& training);

}  // namespace trireme
