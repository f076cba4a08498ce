#include "launch/train/rank.h"

#include <algorithm>
#include <string>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "cuda/host/host_device.h"
#include "monitoring/error.h"

namespace trireme {

int default_threads(const MpiWorld& world) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int mine = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
  const auto online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const bool bound = mine < online;
  return std::max(1, bound ? mine : mine / std::max(1, world.ranks_on_this_host()));
}

Rank::Rank(MpiWorld& world, config::Device device, int threads) {
  if (device == config::cuda)
    throw UserError("device: cuda is not part of this build; set device: host, or auto to take what there is");
  device_ = make_host_device({.threads = threads});
  context_.device = device_.get();
  context_.ops = &host_kernels();
  context_.compute = device_->create_stream(StreamKind::kCompute, "compute");
  streams_.communication = device_->create_stream(StreamKind::kCommunication, "communication");
  streams_.transfers = device_->create_stream(StreamKind::kCommunication, "transfers");
  peers_ = world.world(*device_);
}

Rank::~Rank() {
  mesh_.reset();
  peers_.reset();
  arena_.reset();
  device_->destroy_stream(streams_.transfers);
  device_->destroy_stream(streams_.communication);
  device_->destroy_stream(context_.compute);
  if (memory_ != nullptr) device_->release(memory_);
}

const MeshCommunicators& Rank::connect(const MeshShape& mesh) {
  CHECK(!mesh_, "the mesh is connected twice");
  const std::string mine = to_string(mesh);
  const std::vector<std::string> all = peers_->gather_to_all(mine, {-1, "the mesh"});
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw UserError("rank 0 was started with the mesh " + all[0] + " and rank " + std::to_string(rank) + " with " +
                      all[rank] + ": start all ranks with the same configuration");
  return mesh_.emplace(mesh, *peers_);
}

void Rank::take_memory(std::size_t bytes) {
  CHECK(memory_ == nullptr);
  memory_ = device_->allocate(bytes);
  arena_.emplace(memory_, bytes);
  context_.arena = &*arena_;
}

}  // namespace trireme
