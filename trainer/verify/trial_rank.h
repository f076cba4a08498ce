// One rank of a trial: memory, streams and groups of peers of its own, taken and given back in that order. One thread
// uses it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "parallel/comm/mesh_communicators.h"
#include "trainer/verify/trial.h"

namespace trireme {

class TrialRank {
 public:
  // `world` is of mesh.ranks() ranks; its streams live on `device`, which outlives this.
  TrialRank(Device& device, std::unique_ptr<Communicator> world, const MeshShape& mesh, std::size_t arena_bytes,
            const TrialSeams& seams);
  ~TrialRank();
  TrialRank(const TrialRank&) = delete;
  TrialRank& operator=(const TrialRank&) = delete;

  Context& context() { return context_; }
  const MeshCommunicators& peers() const { return *peers_; }
  const StepStreams& streams() const { return streams_; }

  // An f32 tensor's values, after all that is on the compute stream.
  std::vector<float> read(const Tensor& tensor);

 private:
  Kernels kernels_;
  Device& device_;
  std::byte* memory_;
  std::optional<Arena> arena_;
  Context context_;
  StepStreams streams_;
  std::unique_ptr<Communicator> world_;
  std::optional<MeshCommunicators> peers_;
};

}  // namespace trireme
