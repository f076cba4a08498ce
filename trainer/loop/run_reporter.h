// What a run says of itself while it trains: a line a step for people, metrics.jsonl for scripts, gauges for
// Prometheus. Rank 0 owns one; nothing here changes what is trained.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "monitoring/log.h"
#include "monitoring/metrics.h"
#include "monitoring/metrics_file.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/step/training_step.h"

namespace trireme {

struct StepTimes {
  double seconds = 0;         // the whole step
  double loader_seconds = 0;  // of these, waiting for data
};

class RunReporter {
 public:
  struct Options {
    std::filesystem::path dir;  // RUN
    std::int64_t steps = 0;
    double flops_per_token = 0;
    double peak_flops = 0;     // of all ranks together, as measured before the first step; 0: not measured
    bool scales_loss = false;  // fp16: the loss scale is part of what a step says
  };

  // Lines of metrics.jsonl after `first_step` (steps done when this attempt begins) are cut.
  RunReporter(const Options& options, MetricsRegistry& registry, std::int64_t first_step);

  void step(std::int64_t step, const StepReport& report, double learning_rate, const StepTimes& times,
            std::optional<double> validation_loss);
  void checkpoint(const CheckpointSaver::Outcome& outcome);
  void checkpoint_skipped(std::int64_t step);
  bool sync() { return file_.sync(); }

 private:
  // No machine is faster than its peak: a step that is faster than the one measured becomes it.
  double share_of_peak(double flops);

  Options options_;
  std::int64_t first_step_;
  double peak_flops_;
  MetricsFile file_;
  Progress progress_;
  double mean_seconds_ = 0;  // of a step, smoothed, for the ETA
  GaugeMetric step_, loss_, validation_loss_, gradient_norm_, learning_rate_, loss_scale_, checkpoint_step_;
  CounterMetric tokens_, skipped_, checkpoints_failed_;
  HistogramMetric step_seconds_, exposed_seconds_, loader_seconds_, checkpoint_seconds_;
};

}  // namespace trireme
