// A rank needs a device, memory of the planned size and peers before anything can run on it; it must take them in this
// order and give them back in the other. Every subcommand that computes begins with one of these, and behind it nobody
// knows whether the device is the host or a GPU, and its peers are reached by MPI or by NCCL.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "cuda/core/context.h"
#include "launch/run.pb.h"
#include "parallel/comm/mesh_communicators.h"
#include "parallel/comm/mpi.h"
#include "parallel/comm/nccl.h"
#include "trainer/step/training_step.h"

namespace trireme {

// Compute threads of each rank when run.threads is not set: the cores that this process may use, shared among the
// host's ranks unless the launcher has already bound each to its own.
int default_threads(const MpiWorld& world);

class Rank {
 public:
  // Starts the device and joins the peers; no memory yet. Collective. Throws UserError, on all ranks, when one cannot
  // have the device that `device` names, or `auto` gives some the host and others a GPU. With Order::kExact sums over
  // ranks do not depend on the device's library.
  Rank(MpiWorld& world, config::Device device, int threads, Order sums = Order::kFast);
  ~Rank();
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  // Makes the groups of the mesh, once. Collective. Throws UserError on all ranks when one brings another mesh: groups
  // that do not fit would never be made.
  const MeshCommunicators& connect(const MeshShape& mesh);
  // Takes the arena, once, and beside it what sums over ranks need. Throws UserError when there is not so much memory.
  void take_memory(std::size_t bytes);
  std::size_t staging_bytes() const { return nccl_ ? nccl_->staging_bytes() : 0; }
  // Which device, and why not another: "cuda: NVIDIA H100 80GB HBM3, ...; NCCL 2.28.9".
  const std::string& description() const { return description_; }

  Context& context() { return context_; }
  Communicator& peers() { return *peers_; }
  StepStreams streams() const { return streams_; }

 private:
  // Throws UserError when the ranks cannot go on together; `failure` is why this one has no device.
  static void agree(Communicator& peers, const std::string& device, const std::string& failure);

  std::unique_ptr<Device> device_;
  std::unique_ptr<Device> words_;  // where the peers of a GPU talk to each other
  std::string description_;
  std::byte* memory_ = nullptr;
  std::optional<Arena> arena_;
  Context context_;
  StepStreams streams_;
  std::optional<NcclWorld> nccl_;
  std::unique_ptr<Communicator> peers_;
  std::optional<MeshCommunicators> mesh_;
};

}  // namespace trireme
