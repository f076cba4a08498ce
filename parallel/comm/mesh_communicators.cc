#include "parallel/comm/mesh_communicators.h"

#include "monitoring/check.h"

namespace trireme {

MeshCommunicators::MeshCommunicators(const MeshShape& mesh, Communicator& world)
    : mesh_(mesh), world_(world), places_(places_of(mesh, world.rank())) {
  CHECK(world.size() == mesh.ranks(), world.size(), " ranks for ", to_string(mesh));
  const int rank = world.rank();
  dp_ = world.subgroup(peers(mesh, Axis::kDp, rank), "dp");
  pp_ = world.subgroup(peers(mesh, Axis::kPp, rank), "pp");
  pp_gradients_ = world.subgroup(peers(mesh, Axis::kPp, rank), "pp gradients");
  tp_ = world.subgroup(peers(mesh, Axis::kTp, rank), "tp");
  tp_gradients_ = world.subgroup(peers(mesh, Axis::kTp, rank), "tp gradients");
}

}  // namespace trireme
