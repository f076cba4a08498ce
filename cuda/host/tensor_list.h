// Ops over lists of tensors share their elements among threads in chunks, since one tensor may be most of a model and
// another a single bias. Internal to cuda/host.
#pragma once

#include <vector>

#include "cuda/host/elements.h"
#include "cuda/host/host_stream.h"

namespace trireme::host {

// Copies the span: what it points to may be gone when the stream gets there.
class TensorList {
 public:
  TensorList(const char* op, const char* operand, Tensors tensors) : tensors_(tensors.begin(), tensors.end()) {
    for (const Tensor& tensor : tensors_) check_operand(op, operand, tensor, DType::kF32, tensor.shape);
  }
  const Tensor& operator[](std::size_t i) const { return tensors_[i]; }
  std::size_t size() const { return tensors_.size(); }

  // ceil(n / chunk) of each tensor.
  std::int64_t chunks(std::int64_t chunk) const {
    std::int64_t count = 0;
    for (const Tensor& tensor : tensors_) count += (tensor.elements() + chunk - 1) / chunk;
    return count;
  }
  // body(chunk's number, tensor, begin, end) for every chunk.
  template <class Body>
  void for_each_chunk(int threads, std::int64_t chunk, const Body& body) const {
    parallel_for(threads_for(threads, chunks(chunk) * chunk), chunks(chunk), [&](std::int64_t from, std::int64_t to) {
      std::int64_t number = 0;
      for (std::size_t i = 0; i < tensors_.size() && number < to; ++i) {
        const std::int64_t elements = tensors_[i].elements();
        const std::int64_t here = (elements + chunk - 1) / chunk;
        for (std::int64_t k = std::max<std::int64_t>(from - number, 0); k < here && number + k < to; ++k)
          body(number + k, i, k * chunk, std::min(elements, (k + 1) * chunk));
        number += here;
      }
    });
  }

 private:
  std::vector<Tensor> tensors_;
};

}  // namespace trireme::host
