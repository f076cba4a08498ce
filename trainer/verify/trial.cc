#include "trainer/verify/trial.h"

#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "monitoring/error.h"
#include "parallel/comm/local.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/digest.h"
#include "trainer/loop/train_loop.h"
#include "trainer/model/transformer.h"
#include "trainer/optim/learning_rate.h"
#include "trainer/step/memory_plan.h"
#include "trainer/verify/trial_rank.h"
#include "trainer/verify/whole.h"

namespace trireme {
namespace {

// What the ranks put together; under the mutex.
class Assembly {
 public:
  Assembly(const TrialOptions& options) : gradients_(static_cast<std::size_t>(options.steps)) {
    trial_.losses.resize(gradients_.size());
    trial_.norms.resize(gradients_.size());
  }

  void report(int step, const StepReport& report, int rank) {
    const std::lock_guard lock(mutex_);
    const auto at = static_cast<std::size_t>(step - 1);
    if (std::exchange(reported_ranks_[step], reported_ranks_[step] + 1) == 0) {
      trial_.losses[at] = report.loss;
      trial_.norms[at] = report.grad_norm;
    } else if (trial_.losses[at] != report.loss || trial_.norms[at] != report.grad_norm) {
      problem(fmt::format("rank {} reports loss {} and norm {} of step {}, another rank {} and {}", rank, report.loss,
                          report.grad_norm, step, trial_.losses[at], trial_.norms[at]));
    }
    if (report.skipped) problem(fmt::format("step {} was skipped: {}", step, report.nonfinite));
  }
  void add_gradient(int step, const ParamSpec& spec, const Box& box, const std::vector<float>& values, int rank) {
    const std::lock_guard lock(mutex_);
    gradients_[static_cast<std::size_t>(step - 1)].add(spec, box, values, rank);
  }
  void add_weight(const ParamSpec& spec, const Box& box, const std::vector<float>& values, int rank) {
    const std::lock_guard lock(mutex_);
    weights_.add(spec, box, values, rank);
  }
  void failed(int rank, const std::string& what) {
    const std::lock_guard lock(mutex_);
    failures_.emplace_back(rank, what);
  }
  void add_file(const std::string& name, const std::string& digest) { trial_.files[name] = digest; }

  Trial finish(const std::vector<ParamSpec>& specs) {
    for (const auto& [rank, what] : failures_) problem(fmt::format("rank {}: {}", rank, what));
    const auto take = [&](WholeAssembly& from, const std::string& what) {
      for (const std::string& each : from.disagreements()) problem(fmt::format("{} of {}", what, each));
      if (failures_.empty())
        for (const std::string& each : from.gaps(specs)) problem(fmt::format("{} of {}", what, each));
      return from.take();
    };
    for (std::size_t step = 0; step < gradients_.size(); ++step)
      trial_.gradients.push_back(take(gradients_[step], fmt::format("step {}'s gradient", step + 1)));
    trial_.weights = take(weights_, "the weights");
    return std::move(trial_);
  }
  bool sound() const { return failures_.empty(); }

 private:
  void problem(std::string what) { trial_.problems.push_back(std::move(what)); }

  std::mutex mutex_;
  Trial trial_;
  std::map<int, int> reported_ranks_;
  std::vector<WholeAssembly> gradients_;
  WholeAssembly weights_;
  std::vector<std::pair<int, std::string>> failures_;
};

void save(TrialRank& rank, TrainingStep& training, const Experiment& experiment, const TrialOptions& options) {
  CheckpointSaver saver(rank.context(), rank.peers().world(), options.scratch, {}, 1);
  saver.save({.step = options.steps,
              .cursor = std::int64_t{options.steps} * experiment.train.global_batch(),
              .applied_updates = options.steps,
              .dtype = training.parameters().dtype(),
              .experiment = "trial\n",
              .config_json = "{}\n",
              .tokenizer_json = "{}\n",
              .specs = checkpoint_specs(training),
              .params = checkpoint_params(training)});
  saver.wait();
  const CheckpointSaver::Outcome outcome = saver.finish();
  if (!outcome.error.empty()) throw UserError("the checkpoint was not written: " + outcome.error);
}

void run_rank(LocalGroup& group, int rank, const Experiment& experiment, const Layout& layout,
              const TrialOptions& options, Assembly& assembly) {
  const TrialSeams none;
  const TrialSeams& seams = options.seams == nullptr ? none : *options.seams;
  const BatchPlan batches{.global_batch = experiment.train.global_batch(),
                          .micro_batch = options.micro_batch,
                          .dp = layout.mesh.dp,
                          .rank = places_of(layout.mesh, rank)[Axis::kDp].index};
  // A planted mistake may ask for more than the honest plan.
  const std::size_t bytes = plan_step(experiment, layout, batches, rank).arena_bytes * (options.seams ? 2 : 1);
  TrialRank self(group, rank, layout.mesh, bytes, seams);
  TrainingStep training(self.context(), experiment, layout, self.peers(), self.streams(), nullptr, &seams.step);
  training.initialize();
  for (int step = 1; step <= options.steps; ++step) {
    whereabouts().step = step;
    std::vector<Batch> micro_batches;
    for (std::int64_t m = 0; m < batches.micro_batches(); ++m)
      micro_batches.push_back(trial_batch(experiment.model, batches.micro_range(step - 1, m)));
    training.run(step, micro_batches, learning_rate(experiment.optimizer, step - 1, options.steps));
    assembly.report(step, training.report(), rank);
    for (const HeldTensor& held : training.held_gradients())
      assembly.add_gradient(step, *held.spec, held.box, self.read(held.tensor), rank);
  }
  for (const HeldTensor& held : training.held_masters())
    assembly.add_weight(*held.spec, held.box, self.read(held.tensor), rank);
  if (!options.scratch.empty()) save(self, training, experiment, options);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Trial run_trial(const Experiment& experiment, const Layout& layout, const TrialOptions& options) {
  const int ranks = layout.mesh.ranks();
  LocalGroup group(ranks);
  Assembly assembly(options);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      whereabouts() = {.rank = rank, .step = 0};
      try {
        run_rank(group, rank, experiment, layout, options, assembly);
      } catch (const std::exception& error) {
        assembly.failed(rank, error.what());
        group.leave(rank, error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();

  if (!options.scratch.empty() && assembly.sound())
    for (const auto& checkpoint : std::filesystem::directory_iterator(options.scratch))
      if (checkpoint.is_directory())
        for (const auto& file : std::filesystem::directory_iterator(checkpoint)) {
          const std::string bytes = read_file(file.path());
          assembly.add_file(file.path().filename().string(), digest_of(std::as_bytes(std::span(bytes))));
        }
  return assembly.finish(whole_model_specs(experiment.model));
}

}  // namespace trireme
