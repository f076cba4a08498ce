#include "parallel/comm/nccl.h"

#include <utility>

#include <dlfcn.h>

#include "monitoring/error.h"
#include "monitoring/log.h"
#include "parallel/comm/nccl_communicator.h"

namespace trireme {
namespace {

NcclLibrary& open_library() {
  void* object = dlopen(kNcclObject, RTLD_NOW | RTLD_LOCAL);  // never closed
  if (object == nullptr)
    throw UserError(std::string("several ranks on GPUs need NCCL, which cannot be opened (") + dlerror() +
                    "); install it and build again, or set device: host");
  const auto open = reinterpret_cast<OpenNccl>(dlsym(object, kOpenNccl));
  if (open == nullptr) throw UserError(std::string(kNcclObject) + " is of another build; build it again");
  return *open();
}

}  // namespace

NcclWorld::NcclWorld(MpiWorld& world, std::unique_ptr<Communicator> words, Device& device, const Kernels& ops,
                     Order sums)
    : shared_(
          std::make_shared<NcclShared>(NcclShared{.device = device, .ops = ops, .tree_sums = sums == Order::kExact})) {
  if (world.size() > 1) {
    shared_->library = &open_library();
    shared_->library->use_device();
    shared_->watch = std::make_unique<NcclWatch>(*shared_->library, device, world.ledger(), world.timeout(),
                                                 [&world](const std::string& failure) {
                                                   log_error("{}", failure);
                                                   world.abort(static_cast<int>(ExitCode::kPeerFailed));
                                                 });
  }
  world_ = make_nccl_communicator(shared_, std::move(words), Members::world(world.size()));
}

NcclWorld::~NcclWorld() {
  world_.reset();
  shared_->watch.reset();
}

std::unique_ptr<Communicator> NcclWorld::world() {
  CHECK(world_ != nullptr, "the world is asked for twice");
  return std::move(world_);
}

std::size_t NcclWorld::staging_bytes() const {
  return shared_->library != nullptr && shared_->tree_sums ? NcclStaging::kBytes : 0;
}

void NcclWorld::take_staging(std::byte* memory) { shared_->staging.place(memory); }

std::string NcclWorld::description() const { return shared_->library == nullptr ? "" : shared_->library->version(); }

}  // namespace trireme
