#include "cuda/device/device.h"
#include "cuda/device/ops.h"

namespace trireme {

// A missing entry does not compile (-Wmissing-field-initializers).
const Kernels& device_kernels() {
  static const Kernels table = {
      .linear_forward = cuda::linear_forward,
      .linear_backward_input = cuda::linear_backward_input,
      .linear_backward_weight = cuda::linear_backward_weight,
      .linear_finish = cuda::linear_finish,
      .embedding_forward = cuda::embedding_forward,
      .embedding_backward = cuda::embedding_backward,
      .layernorm_forward = cuda::layernorm_forward,
      .layernorm_backward_input = cuda::layernorm_backward_input,
      .layernorm_backward_weight = cuda::layernorm_backward_weight,
      .rmsnorm_forward = cuda::rmsnorm_forward,
      .rmsnorm_backward_input = cuda::rmsnorm_backward_input,
      .rmsnorm_backward_weight = cuda::rmsnorm_backward_weight,
      .rope = cuda::rope,
      .attention_forward = cuda::attention_forward,
      .attention_backward = cuda::attention_backward,
      .gelu_forward = cuda::gelu_forward,
      .gelu_backward = cuda::gelu_backward,
      .swiglu_forward = cuda::swiglu_forward,
      .swiglu_backward = cuda::swiglu_backward,
      .dropout = cuda::dropout,
      .cross_entropy_statistics = cuda::cross_entropy_statistics,
      .cross_entropy_merge = cuda::cross_entropy_merge,
      .cross_entropy_loss = cuda::cross_entropy_loss,
      .cross_entropy_backward = cuda::cross_entropy_backward,
      .fill = cuda::fill,
      .copy = cuda::copy,
      .add = cuda::add,
      .sum_tree = cuda::sum_tree,
      .add_sum = cuda::add_sum,
      .reciprocal = cuda::reciprocal,
      .init_normal = cuda::init_normal,
      .square_sums = cuda::square_sums,
      .find_nonfinite = cuda::find_nonfinite,
      .decide_step = cuda::decide_step,
      .adamw = cuda::adamw,
  };
  return table;
}

}  // namespace trireme
