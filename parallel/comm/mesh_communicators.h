// A rank of a mesh belongs to one group on every axis, and each kind of traffic has a group of its own: what the
// forward pass waits for must not queue behind gradients, and the calls of one communicator stand on one stream.
#pragma once

#include <memory>

#include "parallel/comm/communicator.h"
#include "parallel/mesh/mesh.h"

namespace trireme {

class MeshCommunicators {
 public:
  // `world` has mesh.ranks() ranks and outlives this. Collective.
  MeshCommunicators(const MeshShape& mesh, Communicator& world);

  const MeshShape& mesh() const { return mesh_; }
  int rank() const { return world_.rank(); }
  const AxisPlaces& places() const { return places_; }

  Communicator& world() const { return world_; }
  // Gradients, and ZeRO's parameters: on the communication stream.
  Communicator& dp() const { return *dp_; }
  // Activations from stage to stage: on the stream of transfers.
  Communicator& pp() const { return *pp_; }
  // pp's ranks once more, for the gradients of activations: on a stream of the pipeline's own.
  Communicator& pp_gradients() const { return *pp_gradients_; }
  // Activations within a layer: on the compute stream.
  Communicator& tp() const { return *tp_; }
  // tp's ranks once more, for the gradients of what tp does not cut: on the communication stream.
  Communicator& tp_gradients() const { return *tp_gradients_; }

 private:
  MeshShape mesh_;
  Communicator& world_;
  AxisPlaces places_;
  std::unique_ptr<Communicator> dp_, pp_, pp_gradients_, tp_, tp_gradients_;
};

}  // namespace trireme
