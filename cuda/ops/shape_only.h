// The table of ops that compute nothing, for ShapeOnlyDevice.
#pragma once

#include "cuda/ops/kernels.h"

namespace trireme {

const Kernels& shape_only_kernels();

}  // namespace trireme
