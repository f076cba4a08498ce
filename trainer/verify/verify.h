// Does the layout change what is learned? A few steps are run on one rank and on the layout, and all that they leave is
// held against each other: bit for bit where exact numerics promise it, else within a bound that is derived for every
// element. Where they differ, the axis that is to blame is found by removing one at a time.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/verify/trial.h"
#include "trainer/verify/trial_processes.h"

namespace trireme {

struct Compared {
  std::string what;  // "gradient of layers.0.mlp.up.weight, step 1", "loss of step 2", "checkpoint model.safetensors"
  double difference = 0;      // the largest, or the one farthest beyond its bound
  double bound = 0;           // of that element; 0: the same bits
  std::int64_t element = -1;  // which one, of a tensor
  bool agrees = true;
};

struct Verification {
  std::vector<Compared> compared;     // on the process that leads
  std::vector<std::string> problems;  // in the layout's own run: errors, replicas that differ, elements that none holds
  bool agrees = true;                 // on every process
};

// Whether the layout must give one rank's bits: exact numerics, and nothing that cuts within a layer.
bool promises_bits(const Experiment& experiment, const Layout& layout);

// The one-rank run of an experiment, to hold layouts against. With `processes` they are the layouts' ranks, all of them
// make the same calls, and the one that leads runs the reference and compares.
class Reference {
 public:
  // `scratch`: an existing folder to write checkpoints below, seen by all; they are removed. `seams` lead the layouts'
  // runs astray, never this one's.
  Reference(const Experiment& experiment, int steps, std::filesystem::path scratch, const TrialSeams* seams = nullptr,
            TrialProcesses* processes = nullptr);

  Verification verify(const Layout& layout, std::int64_t micro_batch) const;

 private:
  bool leads() const { return processes_ == nullptr || processes_->leads(); }
  std::filesystem::path folder() const { return scratch_.empty() ? "" : scratch_ / "trial"; }
  TrialOptions options(std::int64_t micro_batch, const TrialSeams* seams) const;
  Verification compare(const Layout& layout, const Trial& many) const;

  Experiment experiment_;
  int steps_;
  std::filesystem::path scratch_;
  const TrialSeams* seams_;
  TrialProcesses* processes_;
  Trial alone_;
  mutable std::vector<WholeTensors> contributions_;  // made when first needed
};

// "tp = 2", "zero.stage = 3": what, taken out of the layout alone, makes the rest agree; several where each of them
// does; empty where no single one does.
struct Suspect {
  std::string name;
  Layout without;
  std::int64_t micro_batch = 1;
};
std::vector<Suspect> suspects(const Layout& layout, std::int64_t micro_batch);
std::vector<std::string> find_culprits(const Reference& reference, const Layout& layout, std::int64_t micro_batch);

}  // namespace trireme
