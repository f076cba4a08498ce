// What a rank keeps under ZeRO is pieces of parameters; a checkpoint knows nothing of them. Written under any number of
// ranks and stage it has the bytes that one rank writes, and whoever loads it goes on as the writer would have.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/checkpoint/scratch.h"
#include "tests/trainer/small_run.h"
#include "trainer/checkpoint/resave.h"
#include "trainer/loop/train_loop.h"

namespace trireme {
namespace {

struct Held {
  int dp;
  int zero_stage;
};
constexpr Held kHeld[] = {{1, 0}, {2, 0}, {2, 1}, {4, 2}, {2, 3}, {4, 3}, {1, 3}};

Experiment experiment_of(config::Model::Family family, config::Precision precision) {
  config::Model model = small_model(family, family == config::Model::gpt2);
  model.set_vocab_size(131);
  model.set_ffn_size(101);
  Experiment experiment = small_experiment(model, 4);
  make_noisy(experiment);
  experiment.train.set_precision(precision);
  experiment.numerics = config::exact;
  experiment.train.set_exact_groups(4);
  return experiment;
}

CheckpointState state_of(SmallRun& run, std::int64_t step) {
  TrainingStep& training = run.step();
  return {.step = step,
          .cursor = 4 * step,
          .progress = run.progress(),
          .dtype = training.parameters().dtype(),
          .experiment = "small",
          .config_json = "{}",
          .tokenizer_json = "{}",
          .specs = checkpoint_specs(training),
          .params = checkpoint_params(training)};
}

// What a step says, whoever computes it.
struct Told {
  double loss = 0, norm = 0, loss_scale = 1;
  bool operator==(const Told&) const = default;
};
Told train(SmallRun& run, int step) {
  const StepReport report = run.run(step, 1e-2);
  return {report.loss, report.grad_norm, report.progress.loss_scale};
}

void with_run(const Experiment& experiment, const Held& how, const std::function<void(SmallRun&)>& body) {
  run_as_ranks(how.dp, [&](LocalGroup& group, int rank) {
    SmallRun run(group, rank, experiment, {.mesh = {.dp = how.dp}, .zero_stage = how.zero_stage},
                 {.global_batch = 4, .micro_batch = 1});
    body(run);
  });
}

TEST(LocalZeroCheckpoint, AnyRanksAndStageWriteTheBytesOfOneAndAnyOtherGoesOn) {
  for (const auto& [family, precision] :
       {std::pair(config::Model::gpt2, config::bf16), std::pair(config::Model::llama, config::fp32),
        std::pair(config::Model::llama, config::fp16)}) {
    Experiment experiment = experiment_of(family, precision);
    // Of fp16, a scale that is saved two steps after it changed, and changes again after the first step of whoever goes
    // on.
    experiment.loss_scale.set_initial(256);
    experiment.loss_scale.set_growth_interval(3);
    const ScratchFolder scratch;
    std::map<std::string, std::string> first;
    std::vector<Told> told;
    for (const Held& writer : kHeld) {
      const std::filesystem::path folder =
          scratch.path() / (std::to_string(writer.dp) + "-" + std::to_string(writer.zero_stage));
      std::vector<Told> next(2);
      with_run(experiment, writer, [&](SmallRun& run) {
        run.run(1, 1e-2);
        run.run(2, 1e-2);
        {
          CheckpointSaver saver(run.rank().context(), run.rank().peers(), folder, {}, 1);
          saver.save(state_of(run, 2));
          EXPECT_EQ(saver.finish().error, "");
        }
        for (const int step : {3, 4}) {
          const Told now = train(run, step);
          if (run.rank().peers().rank() == 0) next[static_cast<std::size_t>(step - 3)] = now;
        }
      });
      if (first.empty()) {
        first = files_of(folder / "step-00000002");
        told = next;
      }
      EXPECT_TRUE(next == told) << writer.dp << " ranks, stage " << writer.zero_stage;
      EXPECT_TRUE(files_of(folder / "step-00000002") == first) << writer.dp << " ranks, stage " << writer.zero_stage;
    }
    const std::filesystem::path one = scratch.path() / "1-0";
    for (const Held& reader : kHeld)
      with_run(experiment, reader, [&](SmallRun& run) {
        std::vector<PassedOver> passed_over;
        const auto resumed = load_newest(run.rank().context(), run.rank().peers(), one, state_of(run, 0), passed_over);
        ASSERT_TRUE(resumed);
        run.step().optimizer().resume(resumed->progress);
        for (const int step : {3, 4})
          EXPECT_TRUE(train(run, step) == told[static_cast<std::size_t>(step - 3)])
              << reader.dp << " ranks, stage " << reader.zero_stage;
      });
  }
}

TEST(LocalZeroCheckpoint, WeightsOfOthersAreReadByPieces) {
  const Experiment experiment = experiment_of(config::Model::gpt2, config::bf16);
  const ScratchFolder scratch;
  oracle::Tensors written;
  with_run(experiment, {1, 0}, [&](SmallRun& run) {
    run.run(1, 1e-2);
    CheckpointSaver saver(run.rank().context(), run.rank().peers(), scratch.path(), {}, 1);
    saver.save(state_of(run, 1));
    EXPECT_EQ(saver.finish().error, "");
    written = run.weights();  // the model's files hold the rounded weights
  });
  for (const int stage : {0, 1, 3})
    with_run(experiment, {2, stage}, [&](SmallRun& run) {
      load_weights(run.rank().context(), scratch.path() / "step-00000001", checkpoint_params(run.step()));
      run.step().optimizer().round_masters();
      EXPECT_EQ(run.masters(), written);
      EXPECT_EQ(run.weights(), written);
    });
}

TEST(LocalZeroCheckpoint, ResavingWhatPiecesWroteGivesItsBytes) {
  const Experiment experiment = experiment_of(config::Model::gpt2, config::bf16);
  const ScratchFolder scratch;
  with_run(experiment, {2, 3}, [&](SmallRun& run) {
    run.run(1, 1e-2);
    CheckpointSaver saver(run.rank().context(), run.rank().peers(), scratch.path(), {}, 1);
    saver.save(state_of(run, 1));
    EXPECT_EQ(saver.finish().error, "");
  });
  run_as_ranks(2, [&](LocalGroup& group, int rank) {
    TestRank self(group, rank, {}, 1 << 12);
    resave(*self.context().device, host_kernels(), self.peers(), experiment.model, scratch.path() / "step-00000001",
           scratch.path() / "resaved");
  });
  EXPECT_TRUE(files_of(scratch.path() / "resaved") == files_of(scratch.path() / "step-00000001"));
}

}  // namespace
}  // namespace trireme
