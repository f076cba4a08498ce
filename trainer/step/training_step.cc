#include "trainer/step/training_step.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "parallel/comm/traced_call.h"
#include "parallel/comm/traced_communicator.h"
#include "trainer/model/hugging_face.h"
#include "trainer/step/sample_losses.h"

namespace trireme {

DType dtype_of(config::Precision precision) {
  switch (precision) {
    case config::fp32:
      return DType::kF32;
    case config::bf16:
      return DType::kBF16;
    case config::fp16:
      return DType::kF16;
  }
  CHECK(false, "precision ", static_cast<int>(precision));
  return DType::kF32;
}

TrainingStep::TrainingStep(Context& context, const Experiment& experiment, const Layout& layout,
                           const MeshCommunicators& peers, const StepStreams& streams, Trace* trace,
                           const StepSeams* seams)
    : context_(context),
      experiment_(experiment),
      layout_(layout),
      peers_(peers),
      communication_track_(track_of(trace, kCommunicationTrack)),
      waits_track_(track_of(trace, kWaitsTrack)),
      traced_tp_(std::make_unique<TracedCommunicator>(peers.tp(), *context.device, track_of(trace, kTensorTrack))),
      tensor_(*traced_tp_),
      streams_(streams),
      seams_(seams == nullptr ? StepSeams() : *seams),
      event_(context.device->create_event()) {
  CHECK(layout.mesh == peers.mesh(), "a layout for ", to_string(layout.mesh), " on ", to_string(peers.mesh()));
  const config::Train& train = experiment.train;
  const LossOptions loss{.label_smoothing = static_cast<float>(train.label_smoothing()),
                         .z_loss = static_cast<float>(train.z_loss()),
                         .chunk_rows = train.loss_chunk_rows()};
  const PipelineShape shape{layout.mesh.pp, layout.chunks};
  const int rank = peers.pp().rank();
  CHECK(layout.recompute.fits(shape.ranks), layout.recompute.choices().size(), " choices of recomputation for ",
        shape.ranks, " ranks of a pipeline");
  CHECK(shape.stages() <= experiment.model.layers(), shape.stages(), " stages of ", experiment.model.layers(),
        " layers");
  std::vector<Stage*> stages;
  for (int chunk = 0; chunk < layout.chunks; ++chunk) {
    const StageSlice slice = slice_of(experiment.model, shape.stages(), shape.stage_of(rank, chunk));
    stages_.push_back(make_stage(experiment.model, loss, slice, list_, layout.recompute.of(rank)));
    stages.push_back(stages_.back().get());
  }
  pipeline_ = std::make_unique<PipelineRun>(context, std::move(stages), peers, streams.transfers, trace);
  name_files(experiment.model, list_.specs());
  model_specs_ = whole_model_specs(experiment.model);
  if (experiment.model.tied_embeddings() && shape.ranks > 1) {
    if (rank == 0) tied_ = {list_.find(kTokenTable), shape.ranks - 1};
    if (rank == shape.ranks - 1) tied_ = {list_.find("head.weight"), 0};
  }

  GradientBuckets::Options buckets{.order = order(), .groups = 1};
  if (experiment.numerics == config::exact) {
    CHECK(train.exact_groups() % layout.mesh.dp == 0, "dp must divide the exact groups");
    CHECK(train.global_batch() % train.exact_groups() == 0, "the exact groups must divide the global batch");
    buckets.groups = train.exact_groups() / layout.mesh.dp;
    spans_ = {SpanRule::Kind::kPerSample, train.global_batch() / train.exact_groups()};
  }
  parameters_ = std::make_unique<Parameters>(
      context, list_.specs(), dtype_of(train.precision()),
      Parameters::Sharing{peers.places(), layout.zero_stage, {&peers.dp(), streams.communication, trace}});
  optimizer_ = std::make_unique<Optimizer>(context, *parameters_, experiment.optimizer, experiment.loss_scale);
  replicas_ = std::make_unique<ReplicaSums>(list_.specs(), peers.places(), peers.tp_gradients());
  buckets.replicas = replicas_.get();
  norm_ = std::make_unique<GradientNorm>(context, *parameters_, model_specs(), peers.world(), streams.communication,
                                         order(), trace);
  gradients_ = std::make_unique<GradientBuckets>(context, parameters_->plan(), peers.dp(), streams.communication, trace,
                                                 buckets);
  loss_ = context.arena->allocate({buckets.groups}, DType::kF32, "scalars");
  loss_total_ = context.arena->allocate({1}, DType::kF32, "scalars");
  count_ = context.arena->allocate({1}, DType::kI64, "scalars");
  scale_ = context.arena->allocate({1}, DType::kF32, "scalars");
}

TrainingStep::~TrainingStep() { context_.device->destroy_event(event_); }

void TrainingStep::initialize() { optimizer_->initialize(experiment_.seed); }

void TrainingStep::run(std::int64_t step, std::span<const Batch> micro_batches, double learning_rate) {
  const int count = static_cast<int>(micro_batches.size());
  if (count != schedule_micro_batches_) {
    schedule_ =
        pipeline_schedules(layout_.schedule, pipeline_->shape(), count).at(static_cast<std::size_t>(pipeline_->rank()));
    if (seams_.schedule) seams_.schedule(schedule_, peers_.places());
    schedule_micro_batches_ = count;
  }
  run(step, micro_batches, learning_rate, schedule_);
}

void TrainingStep::run(std::int64_t step, std::span<const Batch> micro_batches, double learning_rate,
                       const Schedule& schedule) {
  step_ = step;
  const DeviceBatches batches(context_, micro_batches, spans_, tensor_);
  enter(RunPhase::kBackward, step);
  count_tokens(micro_batches, step);
  gradients_->begin_step(step);
  context_.ops->fill(context_.compute, loss_, 0);
  const auto pass_of = [&](int micro_batch) {
    Pass pass = this->pass();
    pass.batch = &batches[static_cast<std::size_t>(micro_batch)];
    pass.step = step;
    pass.last_micro_batch = static_cast<std::size_t>(micro_batch) + 1 == batches.size();
    return pass;
  };
  pipeline_->run(schedule, pass_of, step);
  reduce_loss(step);
  enter(RunPhase::kReduction, step);
  finish_reduction();
  add_tied_gradients(step);
  enter(RunPhase::kOptimizer, step);
  optimizer_->step(*gradients_, *norm_, learning_rate, step);
}

// Timed on the stream, where the waiting is: the host may be far ahead of it.
void TrainingStep::finish_reduction() {
  using Clock = std::chrono::steady_clock;
  const auto began = std::make_shared<Clock::time_point>();
  context_.device->run(context_.compute, [began] { *began = Clock::now(); });
  gradients_->finish();
  context_.device->run(context_.compute, [began, exposed = exposed_seconds_] {
    *exposed = std::chrono::duration<double>(Clock::now() - *began).count();
  });
}

Pass TrainingStep::pass() const {
  return {.context = &context_,
          .parameters = parameters_.get(),
          .gradients = gradients_.get(),
          .batch = nullptr,
          .order = order(),
          .training = true,
          .last_micro_batch = false,
          .seed = experiment_.seed,
          .loss = loss_,
          .gradient_scale = scale_,
          .tensor = tensor_};
}

// The loss is a mean over the tokens that count in the whole global batch, which all ranks must know before the first
// backward pass. Its gradient begins as loss scale / tokens.
void TrainingStep::count_tokens(std::span<const Batch> micro_batches, std::int64_t step) {
  std::int64_t mine = 0;
  for (const Batch& batch : micro_batches) mine += batch.unmasked_tokens();
  context_.device->upload(context_.compute, count_, &mine);
  reduce_scalar(count_, "token count", step);
  context_.device->record(streams_.communication, event_);
  traced_wait(*context_.device, context_.compute, event_, waits_track_, "token count", step);
  context_.ops->reciprocal(context_.compute, scale_, count_, optimizer_->control().scale);
}

// Over dp, on the communication stream, behind what is on the compute stream now.
void TrainingStep::reduce_scalar(const ArenaTensor& x, const char* name, std::int64_t step) {
  Device& device = *context_.device;
  device.record(context_.compute, event_);
  device.wait(streams_.communication, event_);
  traced_call(device, streams_.communication, communication_track_, std::string("reduce ").append(name), step, [&] {
    peers_.dp().all_reduce(streams_.communication, x, Reduction::kSum, {step, name});
  });
}

// The last stage has it; every rank reports it.
void TrainingStep::reduce_loss(std::int64_t step) {
  if (pipeline_->rank() + 1 == pipeline_->shape().ranks) {
    std::vector<Tensor> groups;
    for (std::int64_t group = 0; group < loss_->size(0); ++group) groups.push_back(loss_->rows(group, group + 1));
    context_.ops->sum_tree(context_.compute, loss_total_, groups);
    reduce_scalar(loss_total_, "loss", step);
  }
  pipeline_->share_from_last(streams_.communication, loss_total_, {step, "loss"});
}

// The table's gradient is the sum of what the embedding and the head make of it. Where they are on two ranks, both add
// the other's, to the same bits, and both update a replica.
void TrainingStep::add_tied_gradients(std::int64_t step) {
  if (!tied_) return;
  const Tensor mine = gradients_->reduced(parameters_->plan().parameters[tied_->index].bucket);  // the table alone
  const ArenaTensor theirs = context_.arena->allocate(mine.shape, mine.dtype, "gradients");
  pipeline_->swap(tied_->peer, mine, theirs, {step, "tied gradient"});
  context_.ops->add(context_.compute, mine, theirs);
}

StepReport TrainingStep::report() {
  Device& device = *context_.device;
  float loss = 0, norm = 0, clip = 0, scale = 0;
  std::int32_t skip = 0;
  std::int64_t count = 0, applied = 0, good = 0;
  const StepControl& control = optimizer_->control();
  device.record(streams_.communication, event_);
  traced_wait(device, context_.compute, event_, waits_track_, "loss", step_);
  device.download(context_.compute, &loss, loss_total_);
  device.download(context_.compute, &count, count_);
  device.download(context_.compute, &norm, control.norm);
  device.download(context_.compute, &clip, control.clip);
  device.download(context_.compute, &skip, control.skip);
  device.download(context_.compute, &applied, control.applied);
  device.download(context_.compute, &scale, control.scale);
  device.download(context_.compute, &good, control.good);
  device.synchronize(context_.compute);
  return {.loss = count > 0 ? static_cast<double>(loss) / static_cast<double>(count) : 0,
          .tokens = count,
          .grad_norm = norm,
          .clip = clip,
          .skipped = skip != 0,
          .progress = {.applied_updates = applied, .loss_scale = scale, .good_steps = good},
          .exposed_seconds = *exposed_seconds_,
          .nonfinite = skip != 0 ? name_nonfinite() : ""};
}

// All ranks know that the step is skipped, so they can tell each other why.
std::string TrainingStep::name_nonfinite() {
  const Tensor flags = gradients_->own_nonfinite();
  std::vector<std::int32_t> nonfinite(static_cast<std::size_t>(flags.elements()));
  context_.device->download(context_.compute, nonfinite.data(), flags);
  context_.device->synchronize(context_.compute);
  std::string mine;
  for (std::size_t i = 0; i < nonfinite.size(); ++i)
    if (nonfinite[i] != 0) mine += list_.specs()[i].name + "\n";

  std::string first;
  std::size_t culprits = 0;
  const std::vector<std::string> all = peers_.world().gather_to_all(mine, {-1, "non-finite gradients"});
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (first.empty() && !all[rank].empty())
      first = "rank " + std::to_string(rank) + ": " + all[rank].substr(0, all[rank].find('\n'));
    culprits += static_cast<std::size_t>(std::count(all[rank].begin(), all[rank].end(), '\n'));
  }
  if (culprits == 0) return "the sum over all ranks";
  return culprits == 1 ? first : first + " (and " + std::to_string(culprits - 1) + " more)";
}

template <class Read>
std::vector<HeldTensor> TrainingStep::held(Read read) const {
  std::vector<HeldTensor> held;
  for (const Optimizer::Piece& piece : optimizer_->pieces()) {
    const Box& mine = parameters_->plan().parameters[piece.parameter].box;
    const Tensor values = read(piece);
    std::int64_t at = 0;
    for (const Box& box : boxes_of_run(mine.size, piece.begin, piece.end)) {
      held.push_back({&parameters_->spec(piece.parameter), inside(mine, box),
                      values.flat(at, at + box.elements()).view(box.size)});
      at += box.elements();
    }
  }
  return held;
}

std::vector<HeldTensor> TrainingStep::held_gradients() const {
  return held([&](const Optimizer::Piece& piece) { return optimizer_->gradient(*gradients_, piece); });
}
std::vector<HeldTensor> TrainingStep::held_masters() const {
  return held([](const Optimizer::Piece& piece) { return piece.master; });
}
std::vector<HeldTensor> TrainingStep::held_moments(int which) const {
  CHECK(which == 1 || which == 2, "moment ", which);
  return held([&](const Optimizer::Piece& piece) { return which == 1 ? piece.first_moment : piece.second_moment; });
}
std::vector<HeldTensor> TrainingStep::held_weights() const {
  return held([&](const Optimizer::Piece& piece) { return optimizer_->value(piece); });
}

ArenaTensor TrainingStep::sample_losses(const Batch& batch) {
  ArenaTensor losses = trireme::sample_losses(context_, *parameters_, order(), tensor_, batch,
                                              [&](const Pass& pass) { pipeline_->evaluate(pass); });
  pipeline_->share_from_last(context_.compute, losses, {-1, "losses of samples"});
  return losses;
}

}  // namespace trireme
