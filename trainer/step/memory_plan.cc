#include "trainer/step/memory_plan.h"

#include "cuda/ops/shape_only.h"
#include "trainer/step/rank_batches.h"

namespace trireme {

StepPlan plan_step(const Experiment& experiment, const Layout& layout, const BatchPlan& sizes, int rank) {
  const BatchPlan batches = rank_batches(layout.mesh, rank, sizes);
  RecordingDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{.device = &device,
                  .ops = &shape_only_kernels(),
                  .arena = &arena,
                  .compute = device.create_stream(StreamKind::kCompute, "compute")};
  const StepStreams streams{device.create_stream(StreamKind::kCommunication, "communication"),
                            device.create_stream(StreamKind::kCommunication, "transfers")};
  RecordingCommunicator world(rank, layout.mesh.ranks(), &device);
  const MeshCommunicators peers(layout.mesh, world);

  StepPlan plan;
  {
    TrainingStep step(context, experiment, layout, peers, streams, nullptr);
    step.initialize();
    std::vector<Batch> micro_batches;
    for (std::int64_t m = 0; m < batches.micro_batches(); ++m)
      micro_batches.push_back(shape_only_batch(batches.micro_range(0, m).size(), experiment.model.sequence_length()));
    step.run(1, micro_batches, 0);
    step.sample_losses(shape_only_batch(batches.micro_batch, experiment.model.sequence_length()));
    plan.specs.assign(step.list().specs().begin(), step.list().specs().end());
    for (const ParamSpec& spec : step.list().specs())
      if (spec.tied_to.empty()) plan.parameters += spec.shape.elements();
  }
  plan.arena_bytes = arena.peak_bytes();
  plan.bytes_at_peak = arena.bytes_at_peak();
  plan.calls = world.calls();
  plan.before = world.before();
  plan.groups = world.groups();
  return plan;
}

}  // namespace trireme
