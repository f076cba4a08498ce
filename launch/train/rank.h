// A rank needs a device, memory of the planned size and peers before anything can run on it; it must take them in this
// order and give them back in the other. Every subcommand that computes begins with one of these.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "cuda/core/context.h"
#include "launch/run.pb.h"
#include "parallel/comm/mesh_communicators.h"
#include "parallel/comm/mpi.h"
#include "trainer/step/training_step.h"

namespace trireme {

// Compute threads of each rank when run.threads is not set: the cores that this process may use, shared among the
// host's ranks unless the launcher has already bound each to its own.
int default_threads(const MpiWorld& world);

class Rank {
 public:
  // Starts the device and joins the peers; no memory yet. Throws UserError when the device that `device` names is not
  // to be had.
  Rank(MpiWorld& world, config::Device device, int threads);
  ~Rank();
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  // Makes the groups of the mesh, once. Collective. Throws UserError on all ranks when one brings another mesh: groups
  // that do not fit would never be made.
  const MeshCommunicators& connect(const MeshShape& mesh);
  // Takes the arena, once. Throws UserError when there is not so much memory.
  void take_memory(std::size_t bytes);

  Context& context() { return context_; }
  Communicator& peers() { return *peers_; }
  StepStreams streams() const { return streams_; }

 private:
  std::unique_ptr<Device> device_;
  std::byte* memory_ = nullptr;
  std::optional<Arena> arena_;
  Context context_;
  StepStreams streams_;
  std::unique_ptr<Communicator> peers_;
  std::optional<MeshCommunicators> mesh_;
};

}  // namespace trireme
