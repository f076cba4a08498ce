// A tensor here is where numbers lie, not the numbers: an address that may belong to a GPU, a shape and a dtype. It
// owns nothing and is copied freely. Every tensor is contiguous and row-major; what needs a stride is declared with
// another dim instead (K and V as [R, 2, Hk, D]), so that kernels have one kind of argument.
//
// Only a back end (cuda/host, cuda/device) follows `data`. Everybody else passes it on; tests make it unreadable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "monitoring/check.h"

namespace trireme {

enum class DType : std::uint8_t { kF32, kBF16, kF16, kI32, kI64 };

constexpr std::size_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kBF16:
      return 2;
    case DType::kF16:
      return 2;
    case DType::kI32:
      return 4;
    case DType::kI64:
      return 8;
  }
  return 0;
}
const char* name_of(DType dtype);  // "fp32", "bf16", "fp16", "int32", "int64"

// Sizes of the dims, outermost first. No dims: a scalar of one element.
class Shape {
 public:
  static constexpr int kMaxDims = 5;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) {
    CHECK(sizes.size() <= kMaxDims, "a shape of ", sizes.size(), " dims");
    for (std::int64_t size : sizes) append(size);
  }
  void append(std::int64_t size) {
    CHECK(dims_ < kMaxDims && size >= 0, "dim ", dims_, " of size ", size);
    sizes_[dims_++] = size;
  }

  int dims() const { return dims_; }
  std::int64_t operator[](int dim) const {
    CHECK(dim >= 0 && dim < dims_, "dim ", dim, " of ", dims_);
    return sizes_[dim];
  }
  std::int64_t elements() const {
    std::int64_t product = 1;
    for (int dim = 0; dim < dims_; ++dim) product *= sizes_[dim];
    return product;
  }
  bool operator==(const Shape& other) const {
    if (dims_ != other.dims_) return false;
    for (int dim = 0; dim < dims_; ++dim)
      if (sizes_[dim] != other.sizes_[dim]) return false;
    return true;
  }

 private:
  std::array<std::int64_t, kMaxDims> sizes_{};
  int dims_ = 0;
};
std::string to_string(const Shape& shape);  // "[2, 3]"

struct Tensor {
  std::byte* data = nullptr;  // on the device
  DType dtype = DType::kF32;
  Shape shape;

  bool given() const { return data != nullptr; }  // optional arguments of kernels are tensors that are not given
  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * bytes_of(dtype); }
  std::int64_t size(int dim) const { return shape[dim]; }

  // The same elements under another shape.
  Tensor view(const Shape& as) const {
    CHECK(as.elements() == elements(), to_string(shape), " viewed as ", to_string(as));
    return {data, dtype, as};
  }
  // Rows [begin, end) of dim 0.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  // Elements [begin, end) in row-major order, as one dim.
  Tensor flat(std::int64_t begin, std::int64_t end) const;
};

using Tensors = std::span<const Tensor>;

}  // namespace trireme
