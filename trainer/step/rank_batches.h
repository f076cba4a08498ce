// Samples are dealt out over dp alone: ranks that differ only on other axes take the same ones. Whoever plans or runs a
// step on a mesh asks here which samples a rank takes.
#pragma once

#include "dataloader/batch/plan.h"
#include "parallel/mesh/mesh.h"

namespace trireme {

// Of `batches` the sizes count; the place on dp is the rank's.
inline BatchPlan rank_batches(const MeshShape& mesh, int rank, BatchPlan batches) {
  batches.dp = mesh.dp;
  batches.rank = places_of(mesh, rank)[Axis::kDp].index;
  return batches;
}

}  // namespace trireme
