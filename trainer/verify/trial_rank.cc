#include "trainer/verify/trial_rank.h"

#include <utility>

#include "cuda/host/host_device.h"

namespace trireme {

TrialRank::TrialRank(Device& device, std::unique_ptr<Communicator> world, const MeshShape& mesh,
                     std::size_t arena_bytes, const TrialSeams& seams)
    : kernels_(seams.kernels ? seams.kernels(host_kernels(), places_of(mesh, world->rank())) : host_kernels()),
      device_(device),
      memory_(device_.allocate(arena_bytes)),
      arena_(std::in_place, memory_, arena_bytes) {
  context_ = {.device = &device_,
              .ops = &kernels_,
              .arena = &*arena_,
              .compute = device_.create_stream(StreamKind::kCompute, "compute")};
  streams_ = {device_.create_stream(StreamKind::kCommunication, "communication"),
              device_.create_stream(StreamKind::kCommunication, "transfers")};
  world_ = seams.world ? seams.world(std::move(world), device_) : std::move(world);
  peers_.emplace(mesh, *world_);
}

TrialRank::~TrialRank() {
  peers_.reset();
  world_.reset();
  for (const Stream stream : {streams_.transfers, streams_.communication, context_.compute})
    device_.destroy_stream(stream);
  arena_.reset();
  device_.release(memory_);
}

std::vector<float> TrialRank::read(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  device_.download(context_.compute, values.data(), tensor);
  device_.synchronize(context_.compute);
  return values;
}

}  // namespace trireme
