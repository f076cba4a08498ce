#include "cuda/host/host_device.h"
#include "cuda/host/ops.h"

namespace trireme {

// A missing entry does not compile (-Wmissing-field-initializers).
const Kernels& host_kernels() {
  static const Kernels table = {
      .linear_forward = host::linear_forward,
      .linear_backward_input = host::linear_backward_input,
      .linear_backward_weight = host::linear_backward_weight,
      .linear_finish = host::linear_finish,
      .embedding_forward = host::embedding_forward,
      .embedding_backward = host::embedding_backward,
      .layernorm_forward = host::layernorm_forward,
      .layernorm_backward_input = host::layernorm_backward_input,
      .layernorm_backward_weight = host::layernorm_backward_weight,
      .rmsnorm_forward = host::rmsnorm_forward,
      .rmsnorm_backward_input = host::rmsnorm_backward_input,
      .rmsnorm_backward_weight = host::rmsnorm_backward_weight,
      .rope = host::rope,
      .attention_forward = host::attention_forward,
      .attention_backward = host::attention_backward,
      .gelu_forward = host::gelu_forward,
      .gelu_backward = host::gelu_backward,
      .swiglu_forward = host::swiglu_forward,
      .swiglu_backward = host::swiglu_backward,
      .dropout = host::dropout,
      .cross_entropy_statistics = host::cross_entropy_statistics,
      .cross_entropy_merge = host::cross_entropy_merge,
      .cross_entropy_loss = host::cross_entropy_loss,
      .cross_entropy_backward = host::cross_entropy_backward,
      .fill = host::fill,
      .copy = host::copy,
      .add = host::add,
      .sum_tree = host::sum_tree,
      .add_sum = host::add_sum,
      .reciprocal = host::reciprocal,
      .init_normal = host::init_normal,
      .square_sums = host::square_sums,
      .find_nonfinite = host::find_nonfinite,
      .decide_step = host::decide_step,
      .adamw = host::adamw,
  };
  return table;
}

}  // namespace trireme
