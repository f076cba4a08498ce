// GELU and SwiGLU share the logistic function; both it and its complement come from e^-|x|, without cancellation and
// without overflow. Internal to cuda/device.
#pragma once

namespace trireme::cuda {

struct Sigmoid {
  float at;       // sigmoid(x)
  float against;  // sigmoid(-x) = 1 - sigmoid(x)
};

__device__ inline Sigmoid sigmoid(float x) {
  const float decay = expf(-fabsf(x));
  const float above = 1.0f / (1.0f + decay);
  const float below = decay * above;
  return x < 0 ? Sigmoid{below, above} : Sigmoid{above, below};
}

}  // namespace trireme::cuda
