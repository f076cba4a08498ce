// "61 % of peak" means something only against a peak that this machine reaches. The peak here is the fastest of a few
// square GEMMs through the same op and dtype as the model's.
#pragma once

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"

namespace trireme {

// FLOP/s of linear_forward on [size, size] matrices; takes some 0.2 s. Allocates outside of the arena and gives it
// back.
double measure_gemm_peak(Context& context, DType dtype, std::int64_t size = 1024);

}  // namespace trireme
