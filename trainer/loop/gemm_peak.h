// "61 % of peak" means something only against a peak that this machine reaches. The peak here is the fastest of a few
// square GEMMs through the same op and dtype as the model's, as large as it takes for the device to be busy.
#pragma once

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"

namespace trireme {

// FLOP/s of linear_forward on square matrices, the largest of which takes 10 ms or has 8192 rows; takes some 0.3 s.
// Allocates up to 3 of them outside of the arena and gives them back.
double measure_gemm_peak(Context& context, DType dtype);

}  // namespace trireme
