// y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = x sigmoid(t), t twice the argument of tanh, and
// dx = dy (s + x t' s (1 - s)), s = sigmoid(t).
// Forward 2 n s bytes, backward 3 n s; arithmetic is about 30 operations an element, so that memory binds.
#include "cuda/device/map.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/sigmoid.cuh"

namespace trireme::cuda {
namespace {

constexpr float kTwoRootTwoOverPi = 1.5957691216057308f;  // 2 sqrt(2 / pi)
constexpr float kCubic = 0.044715f;

struct Gelu {
  __device__ float operator()(float x) const {
    return x * sigmoid(x * kTwoRootTwoOverPi * fmaf(x * x, kCubic, 1.0f)).at;
  }
};

struct GeluGradient {
  __device__ float operator()(float dy, float x) const {
    const float squared = x * x;
    const Sigmoid s = sigmoid(x * kTwoRootTwoOverPi * fmaf(squared, kCubic, 1.0f));
    const float slope = kTwoRootTwoOverPi * fmaf(squared, 3 * kCubic, 1.0f);
    // Where s (1 - s) is 0 the slope may be infinite; their product is 0.
    const float bend = s.at * s.against;
    return dy * (s.at + (bend > 0 ? x * slope * bend : 0.0f));
  }
};

}  // namespace

void gelu_forward(Stream stream, Tensor y, Tensor x) {
  const Launch launch(stream, "gelu_forward");
  check_operand("gelu_forward", "y", y, x.dtype, x.shape);
  with_type(x.dtype, [&](auto type) { map(launch, x.elements(), Gelu(), type, y, std::pair(type, x)); });
}

void gelu_backward(Stream stream, Tensor dx, Tensor dy, Tensor x) {
  const Launch launch(stream, "gelu_backward");
  check_operand("gelu_backward", "dx", dx, x.dtype, x.shape);
  check_operand("gelu_backward", "dy", dy, x.dtype, x.shape);
  with_type(x.dtype, [&](auto type) {
    map(launch, x.elements(), GeluGradient(), type, dx, std::pair(type, dy), std::pair(type, x));
  });
}

}  // namespace trireme::cuda
