// "The layout is not part of the experiment" can be tried on the user's own experiment: run a few steps of it on a
// layout, put what the ranks hold together again, and compare. A trial is one such run. Its ranks are threads of this
// process, or processes.
//
// What two ranks both hold (replicas) is compared on the way, and what none holds is missed: both end up in `problems`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuda/host/host_device.h"
#include "dataloader/batch/batch.h"
#include "trainer/step/training_step.h"

namespace trireme {

// Whole parameters by name, row-major; tied ones under their owner's name.
using WholeTensors = std::map<std::string, std::vector<float>>;

struct Trial {
  std::vector<double> losses;                // of each step
  std::vector<double> norms;                 // of the gradient, before clipping
  std::vector<WholeTensors> gradients;       // of each step, reduced, before clipping
  WholeTensors weights;                      // the fp32 masters after the last step
  double validation_loss = 0;                // with them, on validation_samples
  std::map<std::string, std::string> files;  // of the checkpoint after it: name -> digest of its bytes
  std::vector<std::string> problems;         // what went wrong in itself: a rank's error, replicas that differ, gaps
};

// Where a trial may be led astray on purpose, to see that it is noticed. Nothing is set in a user's program.
struct TrialSeams {
  // The op table that a rank computes with.
  std::function<Kernels(const Kernels& honest, const AxisPlaces& places)> kernels{};
  // Stands between a rank, whose streams live on `device`, and the world, and so all groups made of it.
  std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator> honest, Device& device)> world{};
  StepSeams step{};
};

// A mistake that others have shipped, made at one of the seams; none is part of a user's program.
struct Plant {
  std::string name;
  std::string mistake;  // in a sentence
  TrialSeams seams;
};

struct TrialOptions {
  int steps = 3;
  std::int64_t micro_batch = 1;
  std::filesystem::path scratch{};  // an empty folder for the checkpoint; empty: none is written
  const TrialSeams* seams = nullptr;
  HostOptions host{};  // of ranks that are threads; each adds its number to the shuffle's seed
};

// Training samples [samples.begin, samples.end) of nothing in particular, each a function of its index: several
// documents in each, and targets masked unevenly over samples, down to next to none.
Batch trial_batch(const config::Model& model, SampleRange samples);

// Those that a trial validates on: five after its steps' own, which two ranks cannot share evenly.
inline SampleRange validation_samples(const Experiment& experiment, int steps) {
  const std::int64_t begin = std::int64_t{steps} * experiment.train.global_batch();
  return {begin, begin + 5};
}

// The experiment's global batch and seed hold; its samples are trial_batch's. Does not throw what ranks throw.
Trial run_trial(const Experiment& experiment, const Layout& layout, const TrialOptions& options);

// The same with ranks that are not threads of one process: this one is of `peers`, which are layout.mesh.ranks() and
// have their streams on `device`. Collective; every rank gets the whole. Throws what this rank throws.
Trial run_trial(const Experiment& experiment, const Layout& layout, const TrialOptions& options, Device& device,
                Communicator& peers);

}  // namespace trireme
