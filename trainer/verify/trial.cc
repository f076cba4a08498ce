#include "trainer/verify/trial.h"

#include <algorithm>
#include <numeric>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "cuda/host/host_device.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"
#include "parallel/comm/local.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/digest.h"
#include "trainer/loop/train_loop.h"
#include "trainer/loop/validate.h"
#include "trainer/model/transformer.h"
#include "trainer/optim/learning_rate.h"
#include "trainer/step/memory_plan.h"
#include "trainer/step/rank_batches.h"
#include "trainer/verify/rank_trial.h"
#include "trainer/verify/trial_rank.h"

namespace trireme {
namespace {

void save(TrialRank& rank, TrainingStep& training, const Experiment& experiment, const OptimizerProgress& progress,
          const TrialOptions& options) {
  CheckpointSaver saver(rank.context(), rank.peers().world(), options.scratch, {}, 1);
  saver.save({.step = options.steps,
              .cursor = std::int64_t{options.steps} * experiment.train.global_batch(),
              .progress = progress,
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

double validation_loss(TrialRank& rank, TrainingStep& training, const Experiment& experiment,
                       const TrialOptions& options) {
  const SampleRange samples = validation_samples(experiment, options.steps);
  const ValidationWindows windows{
      .count = samples.size(), .build = [&](SampleRange range) {
        return trial_batch(experiment.model, {samples.begin + range.begin, samples.begin + range.end});
      }};
  const ValidationLoss loss = validate(
      rank.context(), rank.peers().dp(), windows, [&](const Batch& batch) { return training.sample_losses(batch); }, 0,
      options.micro_batch, options.steps);
  return loss.sum / loss.tokens;
}

const TrialSeams& seams_of(const TrialOptions& options) {
  static const TrialSeams none;
  return options.seams == nullptr ? none : *options.seams;
}

// This rank's part of the trial; `share` tells of it as far as it got.
void run_rank(Device& device, std::unique_ptr<Communicator> world, const Experiment& experiment, const Layout& layout,
              const TrialOptions& options, proto::RankTrial& share) {
  const int rank = world->rank();
  const BatchPlan batches = rank_batches(
      layout.mesh, rank, {.global_batch = experiment.train.global_batch(), .micro_batch = options.micro_batch});
  // A planted mistake may ask for more than the honest plan.
  const std::size_t bytes = plan_step(experiment, layout, batches, rank).arena_bytes * (options.seams ? 2 : 1);
  TrialRank self(device, std::move(world), layout.mesh, bytes, seams_of(options));
  TrainingStep training(self.context(), experiment, layout, self.peers(), self.streams(), nullptr,
                        &seams_of(options).step);
  training.initialize();
  OptimizerProgress progress;
  for (int step = 1; step <= options.steps; ++step) {
    whereabouts().step = step;
    std::vector<Batch> micro_batches;
    for (std::int64_t m = 0; m < batches.micro_batches(); ++m)
      micro_batches.push_back(trial_batch(experiment.model, batches.micro_range(step - 1, m)));
    training.run(step, micro_batches, learning_rate(experiment.optimizer, step - 1, options.steps));
    const StepReport report = training.report();
    progress = report.progress;
    share.add_losses(report.loss);
    share.add_norms(report.grad_norm);
    if (report.skipped) share.add_skipped(fmt::format("step {} was skipped: {}", step, report.nonfinite));
    for (const HeldTensor& held : training.held_gradients())
      *share.add_gradients() = held_values(training.model_specs(), held, self.read(held.tensor), step - 1);
  }
  for (const HeldTensor& held : training.held_masters())
    *share.add_weights() = held_values(training.model_specs(), held, self.read(held.tensor));
  share.set_validation_loss(validation_loss(self, training, experiment, options));
  if (!options.scratch.empty()) save(self, training, experiment, progress, options);
}

// Of the checkpoint that the trial left in its scratch folder: name -> digest.
std::map<std::string, std::string> digests_below(const std::filesystem::path& scratch) {
  std::map<std::string, std::string> digests;
  for (const auto& checkpoint : std::filesystem::directory_iterator(scratch)) {
    if (!checkpoint.is_directory()) continue;
    for (const auto& file : std::filesystem::directory_iterator(checkpoint)) {
      const std::string bytes = read_file(file.path(), kMaxFileBytes, "A trial has just written it.");
      digests[file.path().filename().string()] = digest_of(std::as_bytes(std::span(bytes)));
    }
  }
  return digests;
}

Trial finish(std::span<const proto::RankTrial> shares, const Experiment& experiment, const TrialOptions& options) {
  Trial trial = put_together(shares, whole_model_specs(experiment.model), options.steps);
  const bool sound = std::none_of(shares.begin(), shares.end(), [](const auto& share) { return share.has_error(); });
  if (!options.scratch.empty() && sound) trial.files = digests_below(options.scratch);
  return trial;
}

}  // namespace

Trial run_trial(const Experiment& experiment, const Layout& layout, const TrialOptions& options) {
  const int ranks = layout.mesh.ranks();
  LocalGroup group(ranks);
  std::vector<proto::RankTrial> shares(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      whereabouts() = {.rank = rank, .step = 0};
      proto::RankTrial& share = shares[static_cast<std::size_t>(rank)];
      try {
        HostOptions host = options.host;
        host.shuffle_seed += static_cast<std::uint64_t>(rank);
        const std::unique_ptr<Device> device = make_host_device(host);
        run_rank(*device, group.join(rank, *device), experiment, layout, options, share);
      } catch (const std::exception& error) {
        share.set_error(error.what());
        group.leave(rank, error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  return finish(shares, experiment, options);
}

Trial run_trial(const Experiment& experiment, const Layout& layout, const TrialOptions& options, Device& device,
                Communicator& peers) {
  CHECK(peers.size() == layout.mesh.ranks(), peers.size(), " ranks for ", to_string(layout.mesh));
  std::vector<int> everyone(static_cast<std::size_t>(peers.size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  proto::RankTrial mine;
  run_rank(device, peers.subgroup(everyone, "world"), experiment, layout, options, mine);
  std::vector<proto::RankTrial> shares;
  for (const std::string& message : peers.gather_to_all(mine.SerializeAsString(), {-1, "shares of a trial"}))
    CHECK(shares.emplace_back().ParseFromString(message), "a share of ", message.size(), " bytes");
  return finish(shares, experiment, options);
}

}  // namespace trireme
