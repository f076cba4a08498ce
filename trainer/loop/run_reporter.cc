#include "trainer/loop/run_reporter.h"

#include <algorithm>
#include <limits>

#include "monitoring/run_report.h"

namespace trireme {

RunReporter::RunReporter(const Options& options, MetricsRegistry& registry, std::int64_t first_step)
    : options_(options),
      first_step_(first_step),
      peak_flops_(options.peak_flops),
      file_(options.dir / "metrics.jsonl"),
      progress_(
          "training", static_cast<double>(options.steps),
          {.plain_seconds = std::numeric_limits<double>::infinity(), .already_done = static_cast<double>(first_step)}),
      step_(registry.gauge("trireme_step", "The last step completed.")),
      loss_(registry.gauge("trireme_loss", "Training loss of the last step, nats per token.")),
      validation_loss_(
          registry.gauge("trireme_validation_loss", "Validation loss when last measured, nats per token.")),
      gradient_norm_(registry.gauge("trireme_gradient_norm", "Global norm of the gradients before clipping.")),
      learning_rate_(registry.gauge("trireme_learning_rate", "Learning rate of the last step.")),
      loss_scale_(
          registry.gauge("trireme_loss_scale", "What the next step multiplies its loss by; 1 in all but fp16.")),
      checkpoint_step_(registry.gauge("trireme_checkpoint_step", "Step of the newest committed checkpoint.")),
      tokens_(registry.counter("trireme_tokens_total", "Tokens trained on since the process began, over all ranks.")),
      skipped_(registry.counter("trireme_steps_skipped_total", "Steps skipped for gradients that were not finite.")),
      checkpoints_failed_(registry.counter("trireme_checkpoints_failed_total", "Saves that failed.")),
      step_seconds_(registry.histogram("trireme_step_seconds", "Time of a step, all included.",
                                       exponential_buckets(0.01, 2, 16))),
      exposed_seconds_(registry.histogram("trireme_communication_exposed_seconds",
                                          "Time from a step's last backward pass to its reduced gradients.",
                                          exponential_buckets(1e-4, 4, 10))),
      loader_seconds_(registry.histogram("trireme_loader_wait_seconds", "Time a step waited for data.",
                                         exponential_buckets(1e-4, 4, 10))),
      checkpoint_seconds_(registry.histogram("trireme_checkpoint_seconds", "Time of a save, from snapshot to commit.",
                                             exponential_buckets(0.1, 2, 14))) {
  file_.truncate_after(first_step);
  step_.set(static_cast<double>(first_step));
}

void RunReporter::step(std::int64_t step, const StepReport& report, double learning_rate, const StepTimes& times,
                       std::optional<double> validation_loss) {
  step_.set(static_cast<double>(step));
  loss_.set(report.loss);
  gradient_norm_.set(report.grad_norm);
  learning_rate_.set(learning_rate);
  loss_scale_.set(report.progress.loss_scale);
  tokens_.add(report.tokens);
  step_seconds_.observe(times.seconds);
  loader_seconds_.observe(times.loader_seconds);
  exposed_seconds_.observe(report.exposed_seconds);
  if (validation_loss) validation_loss_.set(*validation_loss);
  if (report.skipped) skipped_.add();

  MetricsRecord record(step);
  record.add("loss", report.loss)
      .add("grad_norm", report.grad_norm)
      .add("learning_rate", learning_rate)
      .add("tokens", static_cast<std::int64_t>(report.tokens))
      .add("seconds", times.seconds);
  if (validation_loss) record.add("validation_loss", *validation_loss);
  if (options_.scales_loss) record.add("loss_scale", report.progress.loss_scale);
  if (report.skipped) record.add("skipped", report.nonfinite);
  file_.append(record);

  mean_seconds_ = step == first_step_ + 1 ? times.seconds : 0.9 * mean_seconds_ + 0.1 * times.seconds;
  const double rate = report.tokens / times.seconds;
  StepLine line{.step = step,
                .steps = options_.steps,
                .loss = report.loss,
                .validation_loss = validation_loss,
                .gradient_norm = report.grad_norm,
                .learning_rate = learning_rate,
                .tokens_per_second = rate};
  if (options_.scales_loss) line.loss_scale = report.progress.loss_scale;
  if (peak_flops_ > 0) line.share_of_peak = share_of_peak(rate * options_.flops_per_token);
  line.eta_seconds = mean_seconds_ * static_cast<double>(options_.steps - step);
  if (report.skipped)
    line.remark = "skipped: not finite on " + (report.nonfinite.empty() ? "no rank of its own" : report.nonfinite);
  log_line(report.skipped ? LogLevel::kWarning : LogLevel::kInfo, step_line(line));
  progress_.update(static_cast<double>(step));
}

double RunReporter::share_of_peak(double flops) {
  const bool as_measured = peak_flops_ == options_.peak_flops;
  if (flops > peak_flops_ && as_measured)
    log_info(
        "this step's {} FLOP/s are more than the GEMM peak measured before the first one, {}: the machine was busier "
        "then. From here on the peak is that of the fastest step",
        human_count(flops), human_count(peak_flops_));
  peak_flops_ = std::max(peak_flops_, flops);
  return flops / peak_flops_;
}

void RunReporter::checkpoint(const CheckpointSaver::Outcome& outcome) {
  if (!outcome.error.empty()) {
    checkpoints_failed_.add();
    log_error("the checkpoint of step {} could not be saved: {}. Training goes on; the last good one is intact.",
              outcome.step, outcome.error);
    return;
  }
  checkpoint_step_.set(static_cast<double>(outcome.step));
  checkpoint_seconds_.observe(outcome.seconds);
  log_info("saved {} ({} in {})", outcome.path.string(), human_bytes(static_cast<double>(outcome.bytes)),
           human_seconds(outcome.seconds));
}

void RunReporter::checkpoint_skipped(std::int64_t step) {
  log_warning("no checkpoint at step {}: the one before it is still being written", step);
}

}  // namespace trireme
