// Ops that are not written yet, so that the library links.
#include "cuda/host/ops.h"

namespace trireme::host {

void embedding_forward(Stream, Tensor, Tensor, Tensor, std::int64_t, Write) { CHECK(false, "not written"); }
void embedding_backward(Stream, Tensor, Tensor, Tensor, std::int64_t) { CHECK(false, "not written"); }
void layernorm_forward(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float) { CHECK(false, "not written"); }
void layernorm_backward_input(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) {
  CHECK(false, "not written");
}
void layernorm_backward_weight(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) { CHECK(false, "not written"); }
void rmsnorm_forward(Stream, Tensor, Tensor, Tensor, Tensor, float) { CHECK(false, "not written"); }
void rmsnorm_backward_input(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) { CHECK(false, "not written"); }
void rmsnorm_backward_weight(Stream, Tensor, Tensor, Tensor, Tensor) { CHECK(false, "not written"); }
void rope(Stream, Tensor, Tensor, double, int) { CHECK(false, "not written"); }
void attention_forward(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, float, Dropout, RowIds) {
  CHECK(false, "not written");
}
void attention_backward(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float, Dropout,
                        RowIds) {
  CHECK(false, "not written");
}
void gelu_forward(Stream, Tensor, Tensor) { CHECK(false, "not written"); }
void gelu_backward(Stream, Tensor, Tensor, Tensor) { CHECK(false, "not written"); }
void swiglu_forward(Stream, Tensor, Tensor) { CHECK(false, "not written"); }
void swiglu_backward(Stream, Tensor, Tensor, Tensor) { CHECK(false, "not written"); }
void dropout(Stream, Tensor, Tensor, Tensor, Dropout, RowIds) { CHECK(false, "not written"); }
void cross_entropy_statistics(Stream, Tensor, Tensor, Tensor, CrossEntropy) { CHECK(false, "not written"); }
void cross_entropy_merge(Stream, Tensor, Tensor) { CHECK(false, "not written"); }
void cross_entropy_loss(Stream, Tensor, Tensor, Tensor, CrossEntropy) { CHECK(false, "not written"); }
void cross_entropy_backward(Stream, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, CrossEntropy) {
  CHECK(false, "not written");
}
void fill(Stream, Tensor, float) { CHECK(false, "not written"); }
void copy(Stream, Tensor, Tensor) { CHECK(false, "not written"); }
void add(Stream, Tensor, Tensor) { CHECK(false, "not written"); }
void sum_tree(Stream, Tensor, Tensors) { CHECK(false, "not written"); }
void add_sum(Stream, Tensor, Tensor) { CHECK(false, "not written"); }
void reciprocal(Stream, Tensor, Tensor, float) { CHECK(false, "not written"); }
void init_normal(Stream, Tensor, Shape, Shape, std::uint64_t, float) { CHECK(false, "not written"); }
void square_sums(Stream, Tensor, Tensors) { CHECK(false, "not written"); }
void find_nonfinite(Stream, Tensor, Tensors) { CHECK(false, "not written"); }
void decide_step(Stream, StepControl, Tensor, Tensor, float) { CHECK(false, "not written"); }
void adamw(Stream, Tensors, Tensors, Tensors, Tensors, Tensors, StepControl, AdamW) { CHECK(false, "not written"); }

}  // namespace trireme::host
