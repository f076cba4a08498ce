// A rank of a test that is a process: a device, streams, and the world's communicator over MPI or, on a GPU, over NCCL.
// Memory is the test's own and goes after the streams.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cuda/back_end.h"
#include "parallel/comm/mpi.h"
#include "parallel/comm/nccl.h"

namespace trireme {

enum class RankKind {
  kHost,
  kGuardedHost,  // its memory may be followed inside of stream tasks only
  kGpu,
};

class ProcessRank {
 public:
  ProcessRank(MpiWorld& world, RankKind kind) {
    if (kind == RankKind::kGpu) {
      BackEnd gpu = open_back_end(BackEndChoice::kCuda, {}, world.rank_on_this_host(), world.ranks_on_this_host());
      device = std::move(gpu.device);
      words_ = make_host_device({});
      nccl_.emplace(world, world.world(*words_), *device, *gpu.kernels, Order::kExact);
      comm = nccl_->world();
      if (nccl_->staging_bytes() > 0) nccl_->take_staging(take(nccl_->staging_bytes()));
    } else {
      device = make_host_device({.guard_memory = kind == RankKind::kGuardedHost});
      comm = world.world(*device);
    }
    stream = device->create_stream(StreamKind::kCommunication, "communication");
    transfers = device->create_stream(StreamKind::kCommunication, "transfers");
    compute = device->create_stream(StreamKind::kCompute, "compute");
  }
  ~ProcessRank() {
    comm.reset();
    nccl_.reset();
    device->destroy_stream(compute);
    device->destroy_stream(transfers);
    device->destroy_stream(stream);
    for (std::byte* block : blocks_) device->release(block);
  }
  ProcessRank(const ProcessRank&) = delete;
  ProcessRank& operator=(const ProcessRank&) = delete;

  template <class T>
  Tensor tensor(const Shape& shape, DType dtype, const std::vector<T>& values) {
    Tensor made{nullptr, dtype, shape};
    CHECK(made.bytes() == values.size() * sizeof(T), "values of another size");
    made.data = take(made.bytes());
    device->upload(stream, made, values.data());
    return made;
  }
  Tensor floats(const std::vector<float>& values) {
    return tensor<float>({static_cast<std::int64_t>(values.size())}, DType::kF32, values);
  }
  template <class T>
  std::vector<T> read(const Tensor& from) {
    std::vector<T> values(from.bytes() / sizeof(T));
    device->download(stream, values.data(), from);
    device->synchronize(stream);
    return values;
  }

  std::unique_ptr<Device> device;
  Stream stream, transfers, compute;
  std::unique_ptr<Communicator> comm;

 private:
  std::byte* take(std::size_t bytes) { return blocks_.emplace_back(device->allocate(bytes)); }

  std::unique_ptr<Device> words_;  // where ranks on GPUs talk to each other
  std::optional<NcclWorld> nccl_;
  std::vector<std::byte*> blocks_;
};

}  // namespace trireme
