// One optimizer step of one rank: batches in, weights changed. It knows the model only as a Stage, its peers only as
// communicators and the device only as a Context, so the same code runs on one rank, on many, and shape-only.
//
// Everything of the step is put on streams without waiting and without reading a value back: the clip factor, the
// decision to skip and the loss stay on the device. report() waits and reads them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "monitoring/trace.h"
#include "parallel/comm/mesh_communicators.h"
#include "parallel/data/gradient_buckets.h"
#include "parallel/layout.pb.h"
#include "parallel/pipeline/recomputation.h"
#include "parallel/pipeline/schedules.h"
#include "trainer/model.pb.h"
#include "trainer/model/transformer.h"
#include "trainer/optim/optimizer.h"
#include "trainer/step/device_batches.h"
#include "trainer/step/pipeline_run.h"
#include "trainer/step/run_observer.h"
#include "trainer/train.pb.h"

namespace trireme {

// What a step computes; resolved, the same on all ranks.
struct Experiment {
  config::Model model;
  config::Train train;
  config::Optimizer optimizer;
  config::LossScale loss_scale{};
  config::Numerics numerics = config::fast;
  std::uint64_t seed = 1;
};

// How it is computed: nothing of this may matter to what is computed. The micro-batch size, also of the layout, comes
// with the batches.
struct Layout {
  MeshShape mesh;
  int zero_stage = 0;
  config::Pipeline::Schedule schedule = config::Pipeline::one_f_one_b;
  int chunks = 1;  // stages of a rank
  Recomputation recompute{};
};

// The streams of a step beside the one of the context.
struct StepStreams {
  Stream communication;  // gradients and gathered parameters
  Stream transfers;      // activations between stages
};

// Where a step may be led astray on purpose, to see that it is noticed; nothing is set in a user's program.
struct StepSeams {
  std::function<void(Schedule&, const AxisPlaces&)> schedule{};
};

// A box of a parameter's values, gradient or the like, as one rank holds it.
struct HeldTensor {
  const ParamSpec* spec = nullptr;  // a tied one only where its owner is not on this rank
  Box box;
  Tensor tensor;  // of the box's shape
};

struct StepReport {
  double loss = 0;          // mean over the global batch's unmasked tokens
  std::int64_t tokens = 0;  // of these
  double grad_norm = 0;     // before clipping
  double clip = 1;
  bool skipped = false;
  OptimizerProgress progress{};  // so far; skipped steps are no updates
  double exposed_seconds = 0;    // from when the compute stream had done the backward passes to the reduced gradients
  std::string nonfinite;         // where the step was skipped: "rank 2: layers.3.mlp.up.weight (and 5 more)"
};

class TrainingStep {
 public:
  // `trace` may be null. All of them outlive this.
  TrainingStep(Context& context, const Experiment& experiment, const Layout& layout, const MeshCommunicators& peers,
               const StepStreams& streams, Trace* trace, const StepSeams* seams = nullptr);
  ~TrainingStep();
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  // May be null; outlives this.
  void set_observer(RunObserver* observer) { observer_ = observer; }

  // The weights' values at step 0.
  void initialize();

  // One step over this rank's micro-batches, by the layout's schedule; `step` counts from 1. Ranks at the same place on
  // dp take the same. Returns before it has run.
  void run(std::int64_t step, std::span<const Batch> micro_batches, double learning_rate);
  // By this rank's list of another schedule. Micro-batches' weight gradients must come in their order.
  void run(std::int64_t step, std::span<const Batch> micro_batches, double learning_rate, const Schedule& schedule);
  StepReport report();  // collective

  // trainer/step/sample_losses.h, with the weights as they are. All ranks of a pipeline take part and get the result.
  ArenaTensor sample_losses(const Batch& batch);

  Stage& stage() { return *stages_.front(); }
  const Parameters& parameters() const { return *parameters_; }
  Optimizer& optimizer() { return *optimizer_; }
  // Of this rank's stages, in the order of its forward passes.
  const ParamList& list() const { return list_; }
  // The whole model's parameters, of which list() is this rank's.
  const std::vector<ParamSpec>& model_specs() const { return model_specs_; }
  // What this rank updates, replicas included: the last step's gradients, reduced, before clipping and times the loss
  // scale (a tied parameter's are in its owner's); the fp32 masters; AdamW's moments; and the weights, of the
  // parameters' dtype.
  std::vector<HeldTensor> held_gradients() const;
  std::vector<HeldTensor> held_masters() const;
  std::vector<HeldTensor> held_moments(int which) const;  // 1 or 2
  std::vector<HeldTensor> held_weights() const;
  const Layout& layout() const { return layout_; }
  Order order() const { return experiment_.numerics == config::exact ? Order::kExact : Order::kFast; }

 private:
  Pass pass() const;
  void enter(RunPhase phase, std::int64_t step) const {
    if (observer_ != nullptr) observer_->enter(phase, step);
  }
  template <class Read>
  std::vector<HeldTensor> held(Read read) const;  // read(piece of the optimizer) -> its tensor
  std::string name_nonfinite();
  void count_tokens(std::span<const Batch> micro_batches, std::int64_t step);
  void finish_reduction();
  void reduce_loss(std::int64_t step);
  void add_tied_gradients(std::int64_t step);
  void reduce_scalar(const ArenaTensor& x, const char* name, std::int64_t step);

  Context& context_;
  Experiment experiment_;
  Layout layout_;
  const MeshCommunicators& peers_;
  Trace::Track communication_track_, waits_track_;
  std::unique_ptr<Communicator> traced_tp_;
  TensorGroup tensor_;
  StepStreams streams_;
  StepSeams seams_;
  Event event_;
  RunObserver* observer_ = nullptr;
  SpanRule spans_;
  ParamList list_;
  std::vector<ParamSpec> model_specs_;
  std::vector<std::unique_ptr<Stage>> stages_;  // of this rank, chunk by chunk
  std::unique_ptr<PipelineRun> pipeline_;
  Schedule schedule_;  // this rank's, for schedule_micro_batches_
  int schedule_micro_batches_ = 0;
  struct Replica {
    ParamIndex index = 0;
    int peer = 0;  // in the pipeline
  };
  std::optional<Replica> tied_;  // what another rank of the pipeline holds too
  std::unique_ptr<Parameters> parameters_;
  std::unique_ptr<ReplicaSums> replicas_;
  std::unique_ptr<GradientBuckets> gradients_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<GradientNorm> norm_;
  ArenaTensor loss_;        // [groups] f32
  ArenaTensor loss_total_;  // [1] f32
  ArenaTensor count_;       // [1] i64
  ArenaTensor scale_;       // [1] f32
  std::int64_t step_ = -1;  // the last one run
  // Written on the compute stream.
  std::shared_ptr<double> exposed_seconds_ = std::make_shared<double>(0);
};

DType dtype_of(config::Precision precision);

}  // namespace trireme
