// A training step of a small model on a rank of a test, with the memory that its plan says.
#pragma once

#include "tests/trainer/small_model.h"
#include "tests/trainer/test_rank.h"
#include "trainer/step/memory_plan.h"

namespace trireme {

class SmallRun {
 public:
  // Rank `rank` of the layout's mesh, on its part of a batch of these sizes. `more` times the planned memory, for
  // schedules that keep more than the planned one.
  SmallRun(LocalGroup& group, int rank, const Experiment& experiment, const Layout& layout, const BatchPlan& sizes,
           const HostOptions& options = {}, std::size_t more = 1);
  // Data parallelism alone: rank plan.rank of plan.dp.
  SmallRun(LocalGroup& group, const Experiment& experiment, const BatchPlan& plan, const HostOptions& options = {},
           std::size_t more = 1);

  TestRank& rank() { return rank_; }
  TrainingStep& step() { return step_; }
  RecordingCommunicator& peers() { return peers_; }

  // Weights into masters and parameters; and back, as the model computes with them. Of the whole model, put together
  // from what each rank keeps: collective. Gradients are those of owned parameters, without the loss scale.
  void set_weights(const oracle::Tensors& weights);
  oracle::Tensors weights();
  oracle::Tensors masters();
  oracle::Tensors gradients();

  // One step on small_micro_batches(plan, number - 1).
  StepReport run(std::int64_t number, double learning_rate);
  StepReport run(std::int64_t number, double learning_rate, const Schedule& schedule);
  // After it, for a checkpoint.
  const OptimizerProgress& progress() const { return progress_; }

 private:
  oracle::Tensors joined(const std::vector<HeldTensor>& held);
  double scale() { return rank_.read(step_.optimizer().control().scale)[0]; }

  Experiment experiment_;
  BatchPlan plan_;
  TestRank rank_;
  RecordingCommunicator peers_;
  MeshCommunicators mesh_;
  TrainingStep step_;
  double gradient_scale_ = 1;  // of the last step
  OptimizerProgress progress_;
};

}  // namespace trireme
