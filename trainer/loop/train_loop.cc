#include "trainer/loop/train_loop.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "dataloader/batch/ledger.h"
#include "dataloader/batch/loader.h"
#include "monitoring/error.h"
#include "monitoring/log.h"
#include "trainer/loop/run_reporter.h"
#include "trainer/loop/validate.h"
#include "trainer/model/transformer.h"
#include "trainer/optim/learning_rate.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// What every rank says of itself between two steps: whether a signal came, and how its part of a save stands.
struct Word {
  bool stop = false;
  CheckpointSaver::State save = CheckpointSaver::State::kIdle;

  std::string text() const { return {stop ? '1' : '0', static_cast<char>('0' + static_cast<int>(save))}; }
};

struct Agreement {
  bool stop = false;        // some rank was told to stop
  bool save_ended = false;  // a save was under way, and no rank is writing any more
};

class TrainLoop {
 public:
  TrainLoop(TrainEnvironment environment, const TrainRun& run)
      : environment_(environment),
        run_(run),
        training_(environment.context, run.experiment, run.layout, environment.peers, environment.streams,
                  &environment.trace),
        saver_(environment.context, environment.peers.world(), run.dir / "checkpoints",
               {run.checkpoint.keep_last(), run.checkpoint.keep_every()}, run.attempt) {
    training_.set_observer(environment.observer);
    saver_.set_observer(environment.observer);
  }

  TrainOutcome run() {
    step_ = resume_or_begin();
    if (leads()) {
      ledger_.emplace(run_.dir / "ledger.jsonl");
      ledger_->truncate_to(run_.batches.cursor(step_));
      reporter_.emplace(RunReporter::Options{.dir = run_.dir,
                                             .steps = run_.steps,
                                             .flops_per_token = flops_per_token(run_.experiment.model),
                                             .peak_flops = run_.peak_flops,
                                             .scales_loss = run_.experiment.train.precision() == config::fp16},
                        environment_.metrics, step_);
    }
    const std::int64_t first = step_;
    Loader loader(environment_.dataset.split("train"),
                  {.sequence_length = run_.experiment.model.sequence_length(),
                   .seed = run_.experiment.seed,
                   .scope = run_.attention},
                  run_.batches, step_);

    if (run_.trace_steps == 0) environment_.trace.stop();
    bool stop = false;
    while (step_ < run_.steps && !stop) {
      one_step(loader);
      if (run_.trace_steps > 0 && step_ == first + run_.trace_steps) write_trace(first);
      const Agreement agreed = agree();
      stop = agreed.stop;
      if (agreed.save_ended) finish_save();
      if (stop || step_ == run_.steps || due(step_, run_.checkpoint.every())) save(stop || step_ == run_.steps);
    }
    if (run_.trace_steps > step_ - first && step_ > first) write_trace(first);
    return {.step = step_,
            .stopped = stop && step_ < run_.steps,
            .saved = saved_step_ == step_,
            .validation_loss = validation_loss_.value_or(0)};
  }

 private:
  bool leads() const { return environment_.peers.world().rank() == 0; }
  static bool due(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

  // One optimizer step, from data to a reported loss.
  void one_step(Loader& loader) {
    const auto begin = Clock::now();
    if (environment_.observer != nullptr) environment_.observer->enter(RunPhase::kData, step_ + 1);
    std::vector<Batch> batches;
    for (std::int64_t m = 0; m < run_.batches.micro_batches(); ++m) batches.push_back(loader.next().batch);
    const double loader_seconds = seconds_since(begin);
    const double rate = learning_rate(run_.experiment.optimizer, step_, run_.steps);

    ++step_;
    whereabouts().step = step_;
    training_.run(step_, batches, rate);
    const StepReport report = training_.report();
    const StepTimes times{.seconds = seconds_since(begin), .loader_seconds = loader_seconds};
    progress_ = report.progress;

    std::optional<double> validation;
    if (step_ == run_.steps || due(step_, run_.validation.every())) validation = validation_loss();
    if (!leads()) return;
    const SampleRange samples = run_.batches.step_range(step_ - 1);
    unwritten_.push_back({.step = step_, .begin = samples.begin, .end = samples.end});
    write_ledger();
    reporter_->step(step_, report, rate, times, validation);
  }

  std::optional<double> validation_loss() {
    if (!environment_.dataset.has_split("validation")) return std::nullopt;
    const ValidationBatches batches(environment_.dataset.split("validation"), run_.experiment.model.sequence_length(),
                                    static_cast<std::int32_t>(environment_.dataset.manifest().end_of_document),
                                    run_.attention);
    const ValidationLoss loss = validate(
        environment_.context, environment_.peers.dp(), windows_of(batches),
        [&](const Batch& batch) { return training_.sample_losses(batch); }, run_.validation.max_samples(),
        run_.batches.micro_batch, step_);
    validation_loss_ = loss.sum / loss.tokens;
    return validation_loss_;
  }

  // Lines that a full disk refuses wait for the next step. Returns why some do; nothing when all are written, and
  // durable if asked.
  enum class Durable { kNo, kYes };
  std::string write_ledger(Durable durable = Durable::kNo) {
    try {
      while (!unwritten_.empty()) {
        ledger_->append(unwritten_.front());
        unwritten_.pop_front();
      }
      if (durable == Durable::kYes) ledger_->sync();
    } catch (const UserError& error) {
      log_warning("{}; the lines wait in memory", error.what());
      return error.what();
    }
    return "";
  }

  Agreement agree() {
    const Word mine{.stop = environment_.stop.load() != 0, .save = saver_.state()};
    Agreement agreed;
    bool writing = false;
    bool under_way = false;
    for (const std::string& word : environment_.peers.world().gather_to_all(mine.text(), {step_, "step's end"})) {
      const auto save = static_cast<CheckpointSaver::State>(word[1] - '0');
      agreed.stop |= word[0] == '1';
      writing |= save == CheckpointSaver::State::kWriting;
      under_way |= save != CheckpointSaver::State::kIdle;
    }
    agreed.save_ended = under_way && !writing;
    return agreed;
  }

  // `wait`: the run ends here, so this save must be finished, and the one before it first.
  void save(bool wait) {
    if (saver_.state() != CheckpointSaver::State::kIdle) {
      if (!wait) {
        if (leads()) reporter_->checkpoint_skipped(step_);
        return;
      }
      saver_.wait();
      finish_save();
    }
    if (saved_step_ == step_) return;
    CheckpointState now = state();
    if (leads()) {
      // A checkpoint must not outlive the account of the samples that led to it.
      now.veto = write_ledger(Durable::kYes);
      reporter_->sync();
    }
    saver_.save(now);
    if (!wait) return;
    saver_.wait();
    finish_save();
  }

  void finish_save() {
    const CheckpointSaver::Outcome outcome = saver_.finish();
    if (outcome.error.empty()) saved_step_ = outcome.step;
    if (leads()) reporter_->checkpoint(outcome);
  }

  CheckpointState state() {
    CheckpointState state{.step = step_,
                          .cursor = run_.batches.cursor(step_),
                          .progress = progress_,
                          .dtype = training_.parameters().dtype(),
                          .experiment = run_.experiment_text,
                          .config_json = run_.config_json,
                          .tokenizer_json = run_.tokenizer_json,
                          .specs = checkpoint_specs(training_),
                          .params = checkpoint_params(training_)};
    return state;
  }

  // Steps done. The newest checkpoint that verifies; else the weights of another model; else initial ones.
  std::int64_t resume_or_begin() {
    std::vector<PassedOver> passed_over;
    Context& context = environment_.context;
    const auto resumed =
        load_newest(context, environment_.peers.world(), run_.dir / "checkpoints", state(), passed_over);
    for (const PassedOver& checkpoint : passed_over)
      log_warning("passed over {}: {}", checkpoint.path.string(), checkpoint.reason);
    if (!resumed) {
      training_.initialize();
      if (!run_.weights_from.empty()) {
        load_weights(context, run_.weights_from, checkpoint_params(training_));
        training_.optimizer().round_masters();
        log_info("begins with the weights of {}", run_.weights_from.string());
      }
      return 0;
    }
    training_.optimizer().resume(resumed->progress);
    if (resumed->cursor != run_.batches.cursor(resumed->step))
      throw UserError(resumed->path.string() + " was written with another train.global_batch: its cursor is sample " +
                      std::to_string(resumed->cursor) + " after " + std::to_string(resumed->step) + " steps");
    progress_ = resumed->progress;
    saved_step_ = resumed->step;
    log_info("resumed from {}", resumed->path.string());
    return resumed->step;
  }

  void write_trace(std::int64_t first) {
    environment_.trace.write(run_.dir / ("trace-rank" + std::to_string(environment_.peers.world().rank()) + ".json"),
                             {first + 1, step_});
    environment_.trace.stop();
  }

  TrainEnvironment environment_;
  const TrainRun& run_;
  TrainingStep training_;
  CheckpointSaver saver_;
  std::optional<Ledger> ledger_;  // rank 0's
  std::deque<LedgerLine> unwritten_;
  std::optional<RunReporter> reporter_;  // rank 0's
  std::int64_t step_ = 0;                // steps done
  std::int64_t saved_step_ = -1;
  OptimizerProgress progress_;
  std::optional<double> validation_loss_;
};

}  // namespace

std::vector<CheckpointParam> checkpoint_params(TrainingStep& training) {
  std::vector<CheckpointParam> params;
  std::map<std::string, const ParamSpec*> by_name;
  for (const ParamSpec& spec : training.model_specs()) by_name[spec.name] = &spec;
  training.optimizer().settle();
  const std::vector<HeldTensor> masters = training.held_masters();
  const std::vector<HeldTensor> first = training.held_moments(1), second = training.held_moments(2);
  for (std::size_t i = 0; i < masters.size(); ++i) {
    const ParamSpec& spec = *masters[i].spec;
    params.push_back({.spec = by_name.at(spec.tied_to.empty() ? spec.name : spec.tied_to),
                      .box = masters[i].box,
                      .master = masters[i].tensor,
                      .first_moment = first[i].tensor,
                      .second_moment = second[i].tensor});
  }
  return params;
}

std::vector<const ParamSpec*> checkpoint_specs(const TrainingStep& training) {
  std::vector<const ParamSpec*> specs;
  for (const ParamSpec& spec : training.model_specs())
    if (spec.tied_to.empty()) specs.push_back(&spec);
  return specs;
}

TrainOutcome train(TrainEnvironment environment, const TrainRun& run) { return TrainLoop(environment, run).run(); }

}  // namespace trireme
