// What every back end does with a tensor before it computes: checks that a call fits the contract (kernels.h), and
// finds the type that stores its elements. For cuda/host and cuda/device.
#pragma once

#include "cuda/core/tensor.h"
#include "monitoring/check.h"

namespace trireme {

template <class T>
T* as(const Tensor& tensor) {
  return reinterpret_cast<T*>(tensor.data);
}

template <class T>
struct Type {
  using type = T;
};
// function(Type<T>()) with the T that stores `dtype`, which has to be a floating one: float, or the back end's own
// types of 16 bits.
template <class BFloat16, class Float16, class Function>
void with_type_of(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kF32:
      return function(Type<float>());
    case DType::kBF16:
      return function(Type<BFloat16>());
    case DType::kF16:
      return function(Type<Float16>());
    default:
      CHECK(false, "not a floating-point tensor: ", name_of(dtype));
  }
}

inline void check_operand(const char* op, const char* operand, const Tensor& tensor, DType dtype, const Shape& shape) {
  CHECK(tensor.given(), op, ": ", operand, " is not given");
  CHECK(tensor.dtype == dtype && tensor.shape == shape, op, ": ", operand, " is ", name_of(tensor.dtype),
        to_string(tensor.shape), ", should be ", name_of(dtype), to_string(shape));
}

}  // namespace trireme
