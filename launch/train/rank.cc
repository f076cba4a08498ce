#include "launch/train/rank.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "cuda/back_end.h"
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

namespace {

BackEndChoice choice_of(config::Device device) {
  switch (device) {
    case config::host:
      return BackEndChoice::kHost;
    case config::cuda:
      return BackEndChoice::kCuda;
    default:
      return BackEndChoice::kAuto;
  }
}

}  // namespace

Rank::Rank(MpiWorld& world, config::Device device, int threads, Order sums) {
  BackEnd back_end;
  std::string failure;
  try {
    back_end =
        open_back_end(choice_of(device), {.threads = threads}, world.rank_on_this_host(), world.ranks_on_this_host());
  } catch (const UserError& error) {
    failure = error.what();
  }
  device_ = std::move(back_end.device);
  description_ = std::move(back_end.description);
  const bool on_host = device_ != nullptr && !back_end.is_cuda;
  if (!on_host) words_ = make_host_device({});
  peers_ = world.world(on_host ? *device_ : *words_);
  agree(*peers_, description_, failure);

  context_.device = device_.get();
  context_.ops = back_end.kernels;
  if (!on_host) {
    nccl_.emplace(world, std::move(peers_), *device_, *back_end.kernels, sums);
    peers_ = nccl_->world();
    if (!nccl_->description().empty()) description_ += "; " + nccl_->description();
  }
  context_.compute = device_->create_stream(StreamKind::kCompute, "compute");
  streams_.communication = device_->create_stream(StreamKind::kCommunication, "communication");
  streams_.transfers = device_->create_stream(StreamKind::kCommunication, "transfers");
}

void Rank::agree(Communicator& peers, const std::string& device, const std::string& failure) {
  const std::string mine = failure.empty() ? "computes on " + device : "cannot begin: " + failure;
  const auto kind = [](const std::string& word) { return word.substr(0, word.find(':')); };
  const std::vector<std::string> all = peers.gather_to_all(mine, {-1, "devices"});
  const auto say = [&](std::size_t rank) {
    return all.size() == 1 ? all[rank] : "rank " + std::to_string(rank) + " " + all[rank];
  };
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (kind(all[rank]) == "cannot begin") throw UserError(all.size() == 1 ? failure : say(rank));
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (kind(all[rank]) != kind(all[0]))
      throw UserError(say(0) + ", and " + say(rank) +
                      ": all ranks must compute on the same kind of device. Set device: host, or start ranks only "
                      "where each has a GPU");
}

Rank::~Rank() {
  mesh_.reset();
  peers_.reset();
  nccl_.reset();
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
  constexpr std::size_t kAlignment = 4096;
  const std::size_t staging = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  memory_ = device_->allocate(staging + staging_bytes());
  arena_.emplace(memory_, bytes);
  if (nccl_) nccl_->take_staging(memory_ + staging);
  context_.arena = &*arena_;
}

}  // namespace trireme
