#include "cuda/core/tensor.h"

namespace trireme {

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "fp32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "fp16";
    case DType::kI32:
      return "int32";
    case DType::kI64:
      return "int64";
  }
  return "?";
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int dim = 0; dim < shape.dims(); ++dim) text += (dim ? ", " : "") + std::to_string(shape[dim]);
  return text + "]";
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  CHECK(shape.dims() > 0 && 0 <= begin && begin <= end && end <= shape[0], "rows ", begin, " to ", end, " of ",
        to_string(shape));
  Shape part{end - begin};
  std::int64_t row = 1;
  for (int dim = 1; dim < shape.dims(); ++dim) {
    part.append(shape[dim]);
    row *= shape[dim];
  }
  return {data + static_cast<std::size_t>(begin * row) * bytes_of(dtype), dtype, part};
}

Tensor Tensor::flat(std::int64_t begin, std::int64_t end) const { return view({elements()}).rows(begin, end); }

}  // namespace trireme
